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
const elementTypes = { float: 1, int32: 6 };

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

function tensor(name: string, elementType: number, shape: readonly number[]): number[] {
  const dims = shape.map((size) => [shapeProto.dim, message([dimension.value, size])] as const);
  const type = message([tensorType.elementType, elementType], [tensorType.shape, message(...dims)]);
  return message([valueInfo.name, name], [valueInfo.type, message([typeProto.tensorType, type])]);
}

function intAttribute(name: string, value: number): number[] {
  return message([attribute.name, name], [attribute.i, value], [attribute.type, attributeTypeInt]);
}

/**
 * An ONNX model of one GroupQueryAttention (domain com.microsoft), causal, without a past: query [B, T, H*D], key and
 * value [B, T, Hk*D], seqlens_k [B] and total_sequence_length [1] int32, output [B, T, H*D].
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
}) {
  const inputs = ["query", "key", "value", "", "", "seqlens_k", "total_sequence_length"];
  const outputs = ["output", "present_key", "present_value"];
  const attention = message(
    ...inputs.map((name) => [node.input, name] as const),
    ...outputs.map((name) => [node.output, name] as const),
    [node.opType, "GroupQueryAttention"],
    [node.attribute, intAttribute("num_heads", H)],
    [node.attribute, intAttribute("kv_num_heads", Hk)],
    [node.domain, "com.microsoft"],
  );
  const { float, int32 } = elementTypes;
  const whole = message(
    [graph.node, attention],
    [graph.name, "attention"],
    [graph.input, tensor("query", float, [B, T, H * D])],
    [graph.input, tensor("key", float, [B, T, Hk * D])],
    [graph.input, tensor("value", float, [B, T, Hk * D])],
    [graph.input, tensor("seqlens_k", int32, [B])],
    [graph.input, tensor("total_sequence_length", int32, [1])],
    [graph.output, tensor("output", float, [B, T, H * D])],
    [graph.output, tensor("present_key", float, [B, Hk, T, D])],
    [graph.output, tensor("present_value", float, [B, Hk, T, D])],
  );
  return Uint8Array.from(
    message(
      [model.irVersion, 8],
      [model.graph, whole],
      [model.opsetImport, message([opset.domain, ""], [opset.version, 17])],
      [model.opsetImport, message([opset.domain, "com.microsoft"], [opset.version, 1])],
    ),
  );
}
