import { DataError, DTypeError, ScfaError, ShapeError, UnsupportedError } from "../errors.ts";
import { type Command, Interrupted, UsageError } from "./command.ts";
import { commandHelp, programHelp } from "./help.ts";
import { nearest, parseCommandLine, seeHelp } from "./parse.ts";
import type { Terminal } from "./terminal.ts";
import { packageVersion } from "./version.ts";

/** Exit codes: done, a failure, and a command line or input that cannot be right. */
export const exitCodes = { done: 0, failure: 1, usage: 2 } as const;

/** Commands by name, loaded when one of them is needed. */
const loaders: Record<string, () => Promise<{ command: Command }>> = {
  demo: () => import("./demo.ts"),
  info: () => import("./info.ts"),
  selftest: () => import("./selftest.ts"),
  prepare: () => import("./prepare.ts"),
  train: () => import("./train.ts"),
  eval: () => import("./eval.ts"),
  sample: () => import("./sample.ts"),
  report: () => import("./report.ts"),
  bench: () => import("./bench.ts"),
  export: () => import("./export.ts"),
  import: () => import("./import.ts"),
};

/**
 * The command `scfa`.
 * @param argv arguments after the program's name
 * @returns the exit code; nothing is thrown
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const isDebug = argv.includes("--debug");
  try {
    await dispatch(
      argv.filter((arg) => arg !== "--debug"),
      terminal,
    );
    return exitCodes.done;
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    terminal.err(isDebug ? `${stackOf(error)}\n` : `scfa: ${messageOf(error)}\n`);
    return isUsers(error) ? exitCodes.usage : exitCodes.failure;
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || (name === "help" && rest.length === 0)) {
    const commands = await Promise.all(Object.values(loaders).map(async (load) => (await load()).command));
    terminal.out(programHelp(commands, packageVersion()));
    return;
  }
  if (name === "--version" || name === "-v") {
    terminal.out(`${packageVersion()}\n`);
    return;
  }
  if (name === "help") return dispatch([rest[0]!, "--help"], terminal);
  const load = Object.hasOwn(loaders, name) ? loaders[name] : undefined;
  if (!load) {
    const near = nearest(name, Object.keys(loaders));
    throw new UsageError(`there is no command "${name}". ${near ? `Did you mean scfa ${near}?` : seeHelp()}`);
  }
  const { command } = await load();
  const flags = typeof command.flags === "function" ? await command.flags() : command.flags;
  if (rest.some((arg) => arg === "--help" || arg === "-h")) {
    terminal.out(commandHelp(command, flags));
    return;
  }
  const parsed = parseCommandLine(command, flags, rest);
  await command.run({ ...parsed, terminal, commandLine: commandLine(argv) });
}

/** Whether what was asked for is at fault, rather than the machine or the program. */
function isUsers(error: unknown): boolean {
  const kinds = [UsageError, ShapeError, DTypeError, UnsupportedError, DataError];
  return kinds.some((kind) => error instanceof kind);
}

function messageOf(error: unknown): string {
  if (error instanceof ScfaError) return error.message;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `${text}\nThis was not foreseen: please report it, with what --debug prints.`;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `\nCaused by: ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

/** The command as it can be typed into a shell again. */
function commandLine(argv: readonly string[]): string {
  return [
    "scfa",
    ...argv.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`)),
  ].join(" ");
}
