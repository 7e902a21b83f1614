#!/usr/bin/env node
import { runCli } from "./run.ts";
import { processTerminal } from "./terminal.ts";

// A reader that went away (`scfa info | head -1`) is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

const code = await runCli(process.argv.slice(2), processTerminal());
// Written out first: process.exit does not wait for pipes. Without it, a worker of a failed device would keep us alive.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
