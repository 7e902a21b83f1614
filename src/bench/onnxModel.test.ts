import { expect, test } from "vitest";
import { castModel, groupQueryAttentionModel, multiHeadAttentionModel } from "./onnxModel.ts";

/** Reads protobuf back: field numbers with their values, nested messages as bytes. */
function readFields(bytes: Uint8Array): [number, number | Uint8Array][] {
  const fields: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    if ((key & 7) === 0) fields.push([key >> 3, varint()]);
    else {
      const length = varint();
      fields.push([key >> 3, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return fields;
}

/** What a model says of its node, and its inputs and outputs with their element types and sizes. */
function readModel(bytes: Uint8Array) {
  type Value = number | Uint8Array;
  const text = (value: Value) => new TextDecoder().decode(value as Uint8Array);
  const all = (message: Value, number: number) =>
    readFields(message as Uint8Array).flatMap(([field, value]) => (field === number ? [value] : []));
  const one = (message: Value, ...path: number[]): Value =>
    path.reduce((inner, number) => all(inner, number)[0]!, message);
  const graph = one(bytes, 7);
  const node = one(graph, 1);
  const value = (info: Value) => {
    const tensor = one(info, 2, 1);
    return [text(one(info, 1)), one(tensor, 1), ...all(one(tensor, 2), 1).map((dim) => one(dim, 1))];
  };
  return {
    op: text(one(node, 4)),
    domain: text(one(node, 7)),
    attributes: Object.fromEntries(all(node, 5).map((entry) => [text(one(entry, 1)), one(entry, 3)])),
    nodeInputs: all(node, 1).map(text),
    inputs: all(graph, 11).map(value),
    outputs: all(graph, 12).map(value),
  };
}

test("ONNX models are one node with the sizes and types asked for", () => {
  const grouped = readModel(groupQueryAttentionModel({ B: 1, T: 300, H: 8, Hk: 2, D: 64 }));
  expect(grouped).toMatchObject({
    op: "GroupQueryAttention",
    domain: "com.microsoft",
    attributes: { num_heads: 8, kv_num_heads: 2 },
    nodeInputs: ["query", "key", "value", "", "", "seqlens_k", "total_sequence_length"],
  });
  expect(grouped.inputs.slice(0, 2)).toEqual([
    ["query", 1, 1, 300, 512],
    ["key", 1, 1, 300, 128],
  ]);
  expect(readModel(multiHeadAttentionModel({ B: 2, T: 300, H: 3, D: 64, type: "float16" }))).toEqual({
    op: "MultiHeadAttention",
    domain: "com.microsoft",
    attributes: { num_heads: 3, unidirectional: 1 },
    nodeInputs: ["query", "key", "value"],
    inputs: ["query", "key", "value"].map((name) => [name, 10, 2, 300, 192]),
    outputs: [["output", 10, 2, 300, 192]],
  });
  expect(readModel(castModel({ shape: [5], from: "float32", to: "float16" }))).toMatchObject({
    op: "Cast",
    domain: "",
    attributes: { to: 10 },
    inputs: [["x", 1, 5]],
    outputs: [["y", 10, 5]],
  });
});
