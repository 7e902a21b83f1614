// Runs the conformance suite inside the page, on the device that the address names, and leaves the outcome where the test
// finds it: ?device=webgpu&cases=<regular expression>
import { conformanceCases, missingFor } from "../../src/conformance/index.ts";
import { type DeviceName, openDevice } from "../../src/index.ts";

export interface PageOutcome {
  crossOriginIsolated: boolean;
  description: string;
  ran: number;
  failed: string[];
}

async function run(): Promise<PageOutcome> {
  const asked = new URLSearchParams(location.search);
  const wanted = new RegExp(asked.get("cases") ?? "");
  const device = await openDevice((asked.get("device") ?? "cpu") as DeviceName);
  const failed: string[] = [];
  let ran = 0;
  for (const conformanceCase of conformanceCases) {
    if (!wanted.test(conformanceCase.name) || missingFor(conformanceCase, device)) continue;
    ran++;
    try {
      const verdict = await conformanceCase.run(device);
      if (!verdict.pass) failed.push(`${conformanceCase.name}: ${JSON.stringify(verdict)}`);
    } catch (error) {
      failed.push(`${conformanceCase.name}: ${error}`);
    }
  }
  const outcome = { crossOriginIsolated, description: device.description, ran, failed };
  device.dispose();
  return outcome;
}

const holder = globalThis as { outcome?: PageOutcome | { error: string } };
run().then(
  (outcome) => {
    holder.outcome = outcome;
  },
  (error: unknown) => {
    holder.outcome = { error: error instanceof Error ? `${error.stack}` : String(error) };
  },
);
