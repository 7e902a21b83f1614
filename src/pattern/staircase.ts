import { ShapeError } from "../errors.ts";
import { checkStaircase, type PartialStaircase } from "../staircase/check.ts";
import type { HostStaircase } from "../staircase/staircase.ts";
import { type AttentionShape, keyHeadOf, type Part, type Pattern } from "./pattern.ts";

/**
 * A visible set given outright, in visit order (see `Staircase`): for what no other pattern says, such as blocks that
 * look ahead. Row i of q need not stand at any position of k: nothing here is causal unless the intervals are.
 * @param staircases one for all heads, one for each of the H query heads, or one for each (b, h), b-major. Rows that
 * `qRows` or `kRows` leave out take no part; `qRows` or `kRows` left out means all rows in their own order.
 * @throws ShapeError that says what is wrong with the staircase
 */
export function staircase(staircases: PartialStaircase | readonly PartialStaircase[]): Pattern {
  const given = Array.isArray(staircases)
    ? (staircases as readonly PartialStaircase[])
    : [staircases as PartialStaircase];
  const perHead = ({ B, H }: AttentionShape) => {
    if (![1, H, B * H].includes(given.length)) {
      throw new ShapeError(
        "pattern.staircase",
        `there is one staircase for all, one for each of the ${H} heads, or one for each (b, head)`,
        `${given.length}`,
      );
    }
    return given.length === 1 ? 1 : H;
  };
  return {
    name: "staircase",
    lower(shape) {
      const H = perHead(shape);
      const host = given.map((one) => checkStaircase(one, shape));
      return partsOf(shape, H, host);
    },
    async mask(shape) {
      const H = perHead(shape);
      return (b, h, i, j) => {
        const { qRows, kRows, lo, hi } = given[(b * H + (h % H)) % given.length];
        const n = qRows ? qRows.indexOf(i) : i;
        const m = kRows ? kRows.indexOf(j) : j;
        return n >= 0 && m >= 0 && lo[n] <= m && m < hi[n];
      };
    },
  };
}

/** One part, or one for each query head where sharers of a key head visit its keys in different orders. */
function partsOf(shape: AttentionShape, H: number, host: HostStaircase[]): Part[] {
  const sharersAgree = host.every(
    ({ kRows }, n) =>
      n % H === 0 || keyHeadOf(shape, n % H) !== keyHeadOf(shape, (n % H) - 1) || sameRows(kRows, host[n - 1].kRows),
  );
  if (sharersAgree) return [{ firstHead: 0, headCount: shape.H, staircase: { host } }];
  return Array.from({ length: H }, (_, h) => ({
    firstHead: h,
    headCount: 1,
    staircase: { host: host.filter((_, n) => n % H === h) },
  }));
}

function sameRows(one: Int32Array, other: Int32Array): boolean {
  return one.every((row, place) => row === other[place]);
}
