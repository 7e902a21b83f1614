import { DTypeError, ShapeError, UnsupportedError } from "../errors.ts";
import type { DType, Tensor } from "../tensor.ts";
import type { Device } from "./device.ts";

/** Sizes that the letters of a contract stand for in one call. */
export type Sizes = Record<string, number>;

/**
 * What an op asks of one tensor, in the words of `Ops`: `[B,T,C]`, then any of
 * - `i32`, `f32`, `float` (any float type) or `any`; if none is named, the one float type that the call computes in;
 * - `strided`: any view with a contiguous last dimension; else contiguous;
 * - `optional`: may be null or left out.
 *
 * A letter stands for one size throughout a call, `B|1` for that size or 1. `[*]` is any shape, `[...x]` the shape of x.
 */
export type Demand = string;

/** A demand, read. */
export interface Parsed {
  path: readonly string[];
  name: string;
  text: string;
  dims: readonly { letter: string; orOne: boolean; literal: number | undefined }[] | null;
  sameAs: string | undefined;
  dtype: DType | "float" | "any" | "compute";
  strided: boolean;
  optional: boolean;
}

/** Reads a table of demands, by name of the argument. */
export function parseDemands(table: Record<string, Demand>): Parsed[] {
  return Object.entries(table).map(([name, text]) => parse(name, text));
}

function parse(name: string, demandText: Demand): Parsed {
  const [shape, ...words] = demandText.split(" ");
  const inner = shape.slice(1, -1);
  const sameAs = inner.startsWith("...") ? inner.slice(3) : undefined;
  const dims =
    inner === "*" || sameAs
      ? null
      : inner.split(",").map((dim) => {
          const [letter, one] = dim.split("|");
          return { letter, orOne: one === "1", literal: /^\d+$/.test(letter) ? Number(letter) : undefined };
        });
  const dtype = words.find((word) => word !== "strided" && word !== "optional") as Parsed["dtype"] | undefined;
  return {
    path: name.split("."),
    name,
    text: shape,
    dims,
    sameAs,
    dtype: dtype ?? "compute",
    strided: words.includes("strided"),
    optional: words.includes("optional"),
  };
}

/**
 * Checks a call's tensors, in the order of the demands.
 * @returns what the letters stand for
 * @throws ShapeError, DTypeError, UnsupportedError
 */
export function checkTensors(op: string, demands: readonly Parsed[], args: object, device: Device): Sizes {
  const sizes: Sizes = {};
  let computeType: DType | undefined;
  for (const wanted of demands) {
    const tensor = lookUp(args, wanted.path);
    if (tensor === null || tensor === undefined) {
      if (wanted.optional) continue;
      throw new ShapeError(op, `${wanted.name} is a tensor ${wanted.text}`, "none");
    }
    checkPlace(op, wanted.name, tensor, device);
    if (wanted.sameAs) {
      const other = lookUp(args, wanted.sameAs.split("."))!;
      const same = tensor.shape.length === other.shape.length && tensor.shape.every((d, i) => d === other.shape[i]);
      demand(op, same, `${wanted.name} has the shape of ${wanted.sameAs}, [${other.shape}]`, () => `[${tensor.shape}]`);
    } else if (wanted.dims) {
      bind(op, wanted, tensor, sizes);
    }
    checkLayout(op, wanted, tensor);
    if (wanted.dtype === "compute") {
      computeType ??= tensor.dtype;
      checkComputeType(op, wanted.name, tensor, computeType, device);
    } else if (
      wanted.dtype !== "any" &&
      (wanted.dtype === "float" ? tensor.dtype === "i32" : tensor.dtype !== wanted.dtype)
    ) {
      throw new DTypeError(op, `${wanted.name} is ${wanted.dtype}`, tensor.dtype);
    }
  }
  return sizes;
}

function lookUp(args: object, path: readonly string[]): Tensor<DType> | null | undefined {
  let value: unknown = args;
  for (const name of path) value = (value as Record<string, unknown> | null | undefined)?.[name];
  return value as Tensor<DType> | null | undefined;
}

function checkPlace(op: string, name: string, tensor: Tensor<DType>, device: Device): void {
  if (tensor.isDisposed) {
    throw new ShapeError(op, "a tensor in use must not be disposed", `${name} [${tensor.shape}], disposed`);
  }
  if (tensor.device !== device) {
    throw new UnsupportedError(
      op,
      `tensors live on the device that computes, ${device.description}`,
      `${name} on ${tensor.device.description}`,
      "Read it there and make it anew here.",
    );
  }
}

function bind(op: string, { name, text, dims }: Parsed, { shape }: Tensor<DType>, sizes: Sizes): void {
  const found: Sizes = {};
  const fits =
    shape.length === dims!.length &&
    dims!.every(({ letter, orOne, literal }, axis) => {
      if (orOne && shape[axis] === 1) return true;
      found[letter] ??= literal ?? sizes[letter] ?? shape[axis];
      return shape[axis] === found[letter];
    });
  if (fits) {
    Object.assign(sizes, found);
    return;
  }
  const known = dims!.filter(({ letter }) => letter in sizes).map(({ letter }) => `${letter}=${sizes[letter]}`);
  const where = known.length > 0 ? ` with ${known.join(", ")}` : "";
  throw new ShapeError(op, `${name} is ${text}${where}`, `[${shape}]`);
}

function checkLayout(op: string, { name, strided }: Parsed, tensor: Tensor<DType>): void {
  const { shape, strides } = tensor;
  if (strided) {
    const last = shape.length - 1;
    demand(
      op,
      last < 0 || strides[last] === 1 || shape[last] <= 1,
      `${name} has a contiguous last dimension`,
      () => `strides [${strides}]`,
    );
  } else {
    demand(
      op,
      tensor.isContiguous,
      `${name} is contiguous`,
      () => `shape [${shape}], strides [${strides}]`,
      "Copy it first.",
    );
  }
}

function checkComputeType(op: string, name: string, tensor: Tensor<DType>, wanted: DType, device: Device): void {
  const { floatTypes } = device.capabilities;
  if (!(floatTypes as readonly DType[]).includes(tensor.dtype)) {
    throw new DTypeError(
      op,
      `${name} has a type that ${device.description} computes in, ${floatTypes.join(" or ")}`,
      tensor.dtype,
    );
  }
  if (tensor.dtype !== wanted)
    throw new DTypeError(op, `${name} has the type of the call's other tensors, ${wanted}`, tensor.dtype);
}

export function whole(op: string, name: string, value: number, from: number, to = Number.MAX_SAFE_INTEGER): void {
  const range = to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `of ${from} to ${to}`;
  demand(
    op,
    Number.isInteger(value) && value >= from && value <= to,
    `${name} is a whole number ${range}`,
    () => `${value}`,
  );
}

export function demand(op: string, holds: boolean, rule: string, actual: () => string, fix = ""): void {
  if (!holds) throw new ShapeError(op, rule, actual(), fix);
}
