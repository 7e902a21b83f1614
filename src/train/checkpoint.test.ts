import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyConfig, tinyData } from "../../test/train/fixture.ts";
import { DataError } from "../errors.ts";
import { digestFile } from "../files/checksum.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { listCheckpoints, newestGood, readState } from "./checkpoint.ts";
import { loadModel } from "./load.ts";
import { train } from "./loop.ts";
import { createRun, type Run } from "./run.ts";

const files = ["model.safetensors", "optimizer.safetensors", "state.json", "checksums.json"] as const;
const device = openReferenceDevice({ precision: "f32" });

let folder: string;
let run: Run;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "scfa-checkpoint-"));
  run = await createRun(join(folder, "run"), tinyConfig({ train: { steps: 2, checkpointEvery: 1, evalBatches: 0 } }));
  await train({ run, device, data: tinyData() });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the run's two checkpoints, to be harmed. */
function copy(): { checkpoints: string; newest: string } {
  const checkpoints = join(folder, "copy");
  rmSync(checkpoints, { recursive: true, force: true });
  cpSync(run.checkpoints, checkpoints, { recursive: true });
  return { checkpoints, newest: join(checkpoints, "step-00000002") };
}

/** Any harm to a file's bytes that leaves them other than they were. */
const harm = fc.oneof(
  fc.record({ kind: fc.constant("cut" as const), at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }) }),
  fc.record({
    kind: fc.constant("flip" as const),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    bits: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constant("grow" as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 99 }) }),
  fc.record({ kind: fc.constant("replace" as const), bytes: fc.uint8Array({ maxLength: 99 }) }),
);
type Harm = typeof harm extends fc.Arbitrary<infer H> ? H : never;

function harmed(bytes: Buffer, how: Harm): Uint8Array {
  if (how.kind === "cut") return bytes.subarray(0, Math.floor(how.at * bytes.length));
  if (how.kind === "grow") return Buffer.concat([bytes, how.bytes]);
  if (how.kind === "replace") return how.bytes;
  const result = Buffer.from(bytes);
  const place = Math.floor(how.at * bytes.length);
  result[place] = result[place]! ^ how.bits;
  return result;
}

describe("checkpoints", () => {
  it("are two, newest first, and the newest is good", async () => {
    expect((await listCheckpoints(run.checkpoints)).map(({ step }) => step)).toEqual([2, 1]);
    const { state } = (await newestGood(run.checkpoints))!;
    expect(state).toMatchObject({ step: 2, tokens: 64, seeds: { train: 7, model: 3 }, optimizer: { updates: 2 } });
  });

  it("with any harm to the bytes of the model, the moments or the state are passed over", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files.slice(0, 3)), harm, async (file, how) => {
        const { checkpoints, newest } = copy();
        const path = join(newest, file);
        writeFileSync(path, harmed(readFileSync(path), how));
        const messages: string[] = [];
        const found = await newestGood(checkpoints, (message) => messages.push(message));
        expect(found?.state.step).toBe(1);
        expect(messages).toHaveLength(1);
        expect(messages[0]).toContain(file);
      }),
      { numRuns: 40 },
    );
  });

  it("with harm to the checksums are passed over, or were not harmed in what they say", async () => {
    await fc.assert(
      fc.asyncProperty(harm, async (how) => {
        const { checkpoints, newest } = copy();
        const path = join(newest, "checksums.json");
        writeFileSync(path, harmed(readFileSync(path), how));
        const found = await newestGood(checkpoints);
        expect([1, 2]).toContain(found?.state.step);
      }),
      { numRuns: 40 },
    );
  });

  it("with a state that lies under a right checksum is a DataError", async () => {
    const { checkpoints, newest } = copy();
    const state = JSON.parse(readFileSync(join(newest, "state.json"), "utf8"));
    const lies = [{ step: -1 }, { step: 1e99 }, { version: 2 }, { optimizer: {} }, { config: null }, { more: 1 }];
    for (const lie of lies) {
      writeFileSync(join(newest, "state.json"), JSON.stringify({ ...state, ...lie }));
      await restamp(newest, "state.json");
      await expect(readState(newest), JSON.stringify(lie)).rejects.toThrow(DataError);
    }
    expect((await newestGood(checkpoints))?.state.step).toBe(1);
  });

  it("with another model's tensors under a right checksum are a DataError that names the tensor", async () => {
    const { checkpoints, newest } = copy();
    const other = await createRun(join(folder, "other"), tinyConfig({ model: { width: 64 }, train: { steps: 1 } }));
    await train({ run: other, device, data: tinyData() });
    cpSync(join(other.checkpoints, "step-00000001", "model.safetensors"), join(newest, "model.safetensors"));
    await restamp(newest, "model.safetensors");
    await expect(loadModel({ ...run, checkpoints }, device)).rejects.toThrow('tensor "tokens"');
  });
});

/** Makes checksums.json agree with a changed file. */
async function restamp(checkpoint: string, file: string): Promise<void> {
  const path = join(checkpoint, "checksums.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  manifest.files[file] = await digestFile(join(checkpoint, file));
  writeFileSync(path, JSON.stringify(manifest));
}
