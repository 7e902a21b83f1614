import { expect, test } from "vitest";
import { measureInTurns } from "./measure.ts";
import { groupQueryAttentionModel } from "./onnxModel.ts";

test("contestants run in turns, and the first round does not count", async () => {
  const order: string[] = [];
  const contestant = (name: string) => ({ name, run: async () => void order.push(name) });
  const times = await measureInTurns([contestant("a"), contestant("b")], { rounds: 2 });
  expect(order.join("")).toBe("ababab");
  expect(times.get("a")!.allMs).toHaveLength(2);
});

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

test("the ONNX model is one GroupQueryAttention with the sizes asked for", () => {
  const text = (bytes: number | Uint8Array) => new TextDecoder().decode(bytes as Uint8Array);
  const all = readFields(groupQueryAttentionModel({ B: 1, T: 300, H: 8, Hk: 2, D: 64 }));
  const graph = readFields(all.find(([number]) => number === 7)![1] as Uint8Array);
  const node = readFields(graph.find(([number]) => number === 1)![1] as Uint8Array);
  expect(node.filter(([number]) => number === 4).map(([, value]) => text(value))).toEqual(["GroupQueryAttention"]);
  const attributes = node.filter(([number]) => number === 5).map(([, value]) => readFields(value as Uint8Array));
  expect(attributes.map((fields) => [text(fields[0]![1]), fields[1]![1]])).toEqual([
    ["num_heads", 8],
    ["kv_num_heads", 2],
  ]);
  const inputs = graph.filter(([number]) => number === 11).map(([, value]) => readFields(value as Uint8Array));
  expect(inputs.map((fields) => text(fields[0]![1]))).toEqual([
    "query",
    "key",
    "value",
    "seqlens_k",
    "total_sequence_length",
  ]);
});
