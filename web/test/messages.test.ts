import { DeviceError, openDevice } from "scfa";
import { expect, test } from "vitest";
import { decodeResult, encodeResult, type MeasurementResult } from "../src/measure/result.ts";
import { checkText, contextFor, shortestContext } from "../src/train/text.ts";
import { explain, PlainError } from "../src/ui/messages.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

test("a lost GPU and a lack of memory are explained, with what to do", async () => {
  const lost = explain(new DeviceError("device", "lost: unknown", "the device is lost; open it again"));
  expect(lost.what).toMatch(/^The browser took the GPU away/);
  expect(lost.remedy).toMatch(/^Reload the page .* choose WASM/);

  const device = await openDevice("cpu", { threads: 1 });
  const failures = [() => device.empty([2 ** 40]), () => Array.from({ length: 9 }, () => device.empty([2 ** 27]))];
  for (const fail of failures) {
    const { what, remedy } = explain(errorOf(fail));
    expect(what).toBe("There is not enough memory for this.");
    expect(remedy).toMatch(/^Choose a shorter context or a smaller model/);
  }
  device.dispose();
  const full = explain(Object.assign(new Error("quota"), { name: "QuotaExceededError" }));
  expect(full.remedy).toMatch(/download the weights/);
});

test("text is told from what is no text, and from too little of it", () => {
  const refused = (name: string, bytes: Uint8Array<ArrayBuffer>) => String(errorOf(() => checkText(name, bytes)));
  expect(refused("a.bin", bytesOf(`${"x".repeat(600)}\0`))).toMatch(/a\.bin is not a text file\. Choose a plain text/);
  expect(refused("b.txt", new Uint8Array(600).fill(0xff))).toMatch(/b\.txt is not a text file/);
  expect(refused("c.txt", bytesOf("short"))).toMatch(/There are only 5 bytes of text\. Give at least 512/);
  // The last character is cut in two, as where a long file is cut.
  const cut = bytesOf("é".repeat(300)).slice(0, 599);
  expect(checkText("d.txt", cut).bytes).toEqual(cut);
});

test("a context is halved until the text is twice as long", () => {
  const text = { name: "a", bytes: bytesOf("x".repeat(1000)) };
  expect([contextFor(text, 2048), contextFor(text, 256), contextFor(text, shortestContext)]).toEqual([256, 256, 128]);
  expect(contextFor({ name: "a", bytes: bytesOf("x".repeat(1024)) }, 2048)).toBe(512);
});

test("a result comes back from a link as it was, and what is none is refused in words", () => {
  const point = { T: 256, pattern: "hash(16)", dtype: "f32", forwardMs: 1.5, backwardMs: 2, visibleShare: 0.1 };
  const result: MeasurementResult = {
    kind: "scfa-measurement",
    version: 1,
    when: "2026-01-01T00:00:00Z",
    browser: "Ünïcode ÿ",
    settings: { H: 1, D: 16, longest: 256, sparse: "hash(16)", limitMs: 1000 },
    devices: [{ device: "cpu", description: "cpu", points: [{ ...point, worstDifference: 1e-7 }] }],
  };
  const text = encodeResult(result);
  expect(text).toMatch(/^[\w-]+$/);
  expect(decodeResult(text)).toEqual(result);
  const broken: unknown[] = [
    { ...result, version: 2 },
    { ...result, devices: [{ ...result.devices[0], device: "toString" }] },
    { ...result, devices: [{ ...result.devices[0], points: [point] }] },
    { ...result, settings: { ...result.settings, H: "1" } },
  ];
  for (const one of broken) expect(() => decodeResult(encodeResult(one as MeasurementResult))).toThrow(PlainError);
  expect(() => decodeResult(text.slice(0, -9))).toThrow(/The link holds no measurement/);
});

function errorOf(fail: () => unknown): unknown {
  try {
    fail();
  } catch (error) {
    return error;
  }
  throw new Error("it must fail");
}
