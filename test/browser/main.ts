// Runs the conformance suite inside the page and leaves the outcome where the test finds it.
import { conformanceCases } from "../../src/conformance/index.ts";
import { openDevice } from "../../src/index.ts";

export interface PageOutcome {
  crossOriginIsolated: boolean;
  description: string;
  ran: number;
  failed: string[];
}

async function run(): Promise<PageOutcome> {
  const device = await openDevice("cpu");
  const failed: string[] = [];
  let ran = 0;
  for (const conformanceCase of conformanceCases) {
    const verdict = await conformanceCase.run(device);
    ran++;
    if (!verdict.pass) failed.push(`${conformanceCase.name}: ${JSON.stringify(verdict)}`);
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
