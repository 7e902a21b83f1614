import { openReferenceDevice } from "../../src/reference/device.ts";
import { train } from "../../src/train/loop.ts";
import { createRun, holdsRun, openRun } from "../../src/train/run.ts";
import { killConfig, tinyData } from "./fixture.ts";

// A process that trains the run in the folder it is given, to be killed: says a line for each event.
const folder = process.argv[2]!;
const run = (await holdsRun(folder)) ? await openRun(folder) : await createRun(folder, killConfig());
await train({
  run,
  // Float32, as checkpoints are; the float64 oracle would not resume bit for bit.
  device: openReferenceDevice({ precision: "f32" }),
  data: tinyData(),
  onEvent: (event) => process.stdout.write(`${event.type}\n`),
});
