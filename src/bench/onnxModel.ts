// The few fields of ONNX's protobuf messages that a model of one node needs; numbers are those of onnx.proto.

const model = { irVersion: 1, graph: 7, opsetImport: 8 };
const opset = { domain: 1, version: 2 };
const graph = { node: 1, name: 2, input: 11, output: 12 };
const node = { input: 1, output: 2, opType: 4, attribute: 5, domain: 7 };
const attribute = { name: 1, i: 3, type: 20 };
const valueInfo = { name: 1, type: 2 };
const typeProto = { tensorType: 1 };
const tensorType = { elementType: 1, shape: 2 };
const shapeProto = { dim: 1 };
const dimension = { value: 1 };
const attributeTypeInt = 2;
/** Element types by the names that onnxruntime's tensors have for them. */
const elementTypes = { float32: 1, int32: 6, float16: 10 } as const;

export type ElementType = keyof typeof elementTypes;

/** Protobuf: numbers are varints, everything else is bytes with a length. */
type Field = number | string | readonly number[];

function message(...fields: readonly (readonly [number, Field])[]): number[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [...varint(number << 3), ...varint(value)];
    const bytes = typeof value === "string" ? [...new TextEncoder().encode(value)] : value;
    return [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes];
  });
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

/** An input or output: its name, element type and sizes. */
type Value = readonly [name: string, type: ElementType, shape: readonly number[]];

function valueMessage([name, type, shape]: Value): number[] {
  const dims = shape.map((size) => [shapeProto.dim, message([dimension.value, size])] as const);
  const ofTensor = message([tensorType.elementType, elementTypes[type]], [tensorType.shape, message(...dims)]);
  return message([valueInfo.name, name], [valueInfo.type, message([typeProto.tensorType, ofTensor])]);
}

function intAttribute([name, value]: readonly [string, number]): number[] {
  return message([attribute.name, name], [attribute.i, value], [attribute.type, attributeTypeInt]);
}

interface Node {
  readonly op: string;
  /** ONNX's own operators if left out. */
  readonly domain?: string;
  readonly attributes: Readonly<Record<string, number>>;
  /** In the operator's order; null for one that is left out. */
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
}

/** A model of one node, whose inputs and outputs are the model's. */
function modelOf({ op, domain = "", attributes, inputs, outputs }: Node): Uint8Array {
  const only = message(
    ...inputs.map((value) => [node.input, value?.[0] ?? ""] as const),
    ...outputs.map(([name]) => [node.output, name] as const),
    [node.opType, op],
    ...Object.entries(attributes).map((entry) => [node.attribute, intAttribute(entry)] as const),
    [node.domain, domain],
  );
  const whole = message(
    [graph.node, only],
    [graph.name, op],
    ...inputs.flatMap((value) => (value ? [[graph.input, valueMessage(value)] as const] : [])),
    ...outputs.map((value) => [graph.output, valueMessage(value)] as const),
  );
  return Uint8Array.from(
    message(
      [model.irVersion, 8],
      [model.graph, whole],
      [model.opsetImport, message([opset.domain, ""], [opset.version, 17])],
      [model.opsetImport, message([opset.domain, contributed], [opset.version, 1])],
    ),
  );
}

/** Domain of the operators that onnxruntime adds. */
const contributed = "com.microsoft";

/**
 * One GroupQueryAttention, causal, without a past: query [B, T, H*D], key and value [B, T, Hk*D] float32, seqlens_k [B] and
 * total_sequence_length [1] int32, output [B, T, H*D].
 */
export function groupQueryAttentionModel({
  B,
  T,
  H,
  Hk,
  D,
}: {
  B: number;
  T: number;
  H: number;
  Hk: number;
  D: number;
}): Uint8Array {
  return modelOf({
    op: "GroupQueryAttention",
    domain: contributed,
    attributes: { num_heads: H, kv_num_heads: Hk },
    inputs: [
      ["query", "float32", [B, T, H * D]],
      ["key", "float32", [B, T, Hk * D]],
      ["value", "float32", [B, T, Hk * D]],
      null,
      null,
      ["seqlens_k", "int32", [B]],
      ["total_sequence_length", "int32", [1]],
    ],
    outputs: [
      ["output", "float32", [B, T, H * D]],
      ["present_key", "float32", [B, Hk, T, D]],
      ["present_value", "float32", [B, Hk, T, D]],
    ],
  });
}

/** One MultiHeadAttention, causal: query, key, value and output [B, T, H*D] of the type. */
export function multiHeadAttentionModel({
  B,
  T,
  H,
  D,
  type,
}: {
  B: number;
  T: number;
  H: number;
  D: number;
  type: ElementType;
}): Uint8Array {
  const shape = [B, T, H * D];
  return modelOf({
    op: "MultiHeadAttention",
    domain: contributed,
    attributes: { num_heads: H, unidirectional: 1 },
    inputs: [
      ["query", type, shape],
      ["key", type, shape],
      ["value", type, shape],
    ],
    outputs: [["output", type, shape]],
  });
}

/** One Cast of x to y: where x and y lie in different places, a transfer. */
export function castModel({
  shape,
  from,
  to,
}: {
  shape: readonly number[];
  from: ElementType;
  to: ElementType;
}): Uint8Array {
  const attributes = { to: elementTypes[to] };
  return modelOf({ op: "Cast", attributes, inputs: [["x", from, shape]], outputs: [["y", to, shape]] });
}
