import { defineCommand, flag } from "./command.ts";

export const command = defineCommand({
  name: "info",
  summary: "show the version, this machine and the devices found",
  flags: {
    json: flag.toggle("print one JSON object"),
  },
  examples: [
    { line: "scfa info", says: "which devices are here, and why the others are not" },
    { line: "scfa info --json | jq .devices", says: "the same for a program" },
  ],
  async run({ flags, terminal }) {
    const [{ surveyDevices }, { describeMachine }, { packageVersion }] = await Promise.all([
      import("../device/open.ts"),
      import("./machine.ts"),
      import("./version.ts"),
    ]);
    const machine = describeMachine();
    const devices = await surveyDevices();
    const facts = { version: packageVersion(), machine, devices };
    if (flags.json) {
      terminal.out(`${JSON.stringify(facts, null, 2)}\n`);
      return;
    }
    terminal.out(`scfa      ${facts.version}\n`);
    terminal.out(`machine   ${machine.text}\n`);
    for (const { name, found, detail, libraries } of devices) {
      terminal.out(`${name.padEnd(8)}  ${found ? detail : `not here: ${detail}`}\n`);
      for (const [library, path] of Object.entries(libraries)) terminal.out(`${" ".repeat(10)}${library}: ${path}\n`);
    }
  },
});
