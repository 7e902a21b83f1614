import type { ConformanceCase } from "./case.ts";
import { claim, type Outputs, type Trial } from "./trial.ts";

const sizes = [1, 7, 4099];

/** Ops that move or round values may not be off by anything. */
const exactly = (room: string, name: string, play: (trial: Trial) => Outputs) =>
  claim(room, name, play, { exact: true });

/** Claims about fill, copy, cast and add. */
export const memoryCases: ConformanceCase[] = [
  ...sizes.flatMap((n) => [
    exactly("fill", `writes every one of ${n} floats`, (t) => {
      const out = t.poison([n]);
      t.ops.fill({ out, value: 0.1 });
      return { out };
    }),
    exactly("fill", `writes every one of ${n} integers`, (t) => {
      const out = t.poisonInts([n]);
      t.ops.fill({ out, value: -5 });
      return { out };
    }),
    claim("add", `adds ${n} numbers, into a third tensor and in place`, (t) => {
      const [x, y, out] = [t.normal([n]), t.normal([n]), t.poison([n])];
      t.ops.add({ x, y, out });
      t.ops.add({ x, y, out: x });
      t.ops.add({ x, y, out: y });
      return { out, x, y };
    }),
  ]),
  exactly("fill", "stays inside a slice", (t) => {
    const all = t.normal([5, 7]);
    t.ops.fill({ out: all.slice(0, 1, 3), value: 2 });
    return { all };
  }),
  exactly("copy", "gathers a view and leaves what lies between rows of the target", (t) => {
    const all = t.normal([2, 3, 3, 5]);
    const target = t.normal([2, 3, 4, 5]);
    t.ops.copy({ x: all.slice(2, 1, 1), out: target.slice(2, 3, 1) });
    t.ops.copy({ x: all.slice(3, 2, 3), out: target.slice(3, 0, 3).slice(2, 0, 3) });
    return { target };
  }),
  exactly("copy", "repeats along a stride of 0", (t) => {
    const [x, out] = [t.normal([5]), t.poison([3, 5])];
    t.ops.copy({ x: x.view([3, 5], { strides: [0, 1] }), out });
    return { out };
  }),
  exactly("copy", "carries integers bit for bit", (t) => {
    const [x, out] = [t.ints([70_001], (i) => (i * 2654435761) | 0), t.poisonInts([70_001])];
    t.ops.copy({ x, out });
    return { out };
  }),
  ...(["f32", "f16", "bf16"] as const).map((dtype) => ({
    ...exactly("cast", `rounds to the nearest ${dtype}, even on a tie, and back`, (t) => {
      const x = t.floats([castValues.length], (i) => castValues[i], { dtype: "f32" });
      const [narrow, back] = [
        t.poison([castValues.length], { dtype }),
        t.poison([castValues.length], { dtype: "f32" }),
      ];
      t.ops.cast({ x, out: narrow });
      t.ops.cast({ x: narrow, out: back });
      return { back };
    }),
    needsTensors: dtype,
  })),
];

/** Ties, carries into the exponent, the largest numbers, subnormals, and what is not finite. */
const castValues = [
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
  ...[0, 1, -2, 0.1, Math.PI, 1 / 3, 1e-3, 123456.789],
  ...[1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 2 - 2 ** -12, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 2 - 2 ** -9],
  ...[
    65504,
    65519,
    65520,
    -70000,
    3.4e38,
    2 ** -14,
    2 ** -15,
    2 ** -24,
    2 ** -25,
    3 * 2 ** -25,
    -(2 ** -26),
    1e-40,
    -3,
  ],
];
