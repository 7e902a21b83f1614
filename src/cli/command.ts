import { ScfaError } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** The command line cannot be understood or does not make sense; exit code 2. */
export class UsageError extends ScfaError {
  override name = "UsageError";
}

/** The work went as it should, and its outcome is a failure: a failed check; exit code 1. */
export class CommandFailure extends ScfaError {
  override name = "CommandFailure";
}

/** The work was stopped by a signal, after it was saved; exit code 128 + the signal's number. */
export class Interrupted extends ScfaError {
  override name = "Interrupted";
  constructor(readonly exitCode: number) {
    super("Stopped.");
  }
}

/** One flag of a command; `parse` turns its text into a value or throws a UsageError without the flag's name. */
export interface Flag<T = unknown> {
  /** What stands for the value in the help, `<count>`; absent for a flag that takes none. */
  readonly placeholder?: string;
  readonly help: string;
  readonly parse: (text: string) => T;
  /** For the help only; the command itself decides. */
  readonly byDefault?: string;
  readonly short?: string;
}

export type Flags = Readonly<Record<string, Flag>>;
export type FlagValues<F extends Flags> = { readonly [K in keyof F]?: F[K] extends Flag<infer T> ? T : never };

/** What a command gets: its arguments and flags as values, and where to write. */
export interface Invocation<F extends Flags = Flags> {
  readonly args: readonly string[];
  readonly flags: FlagValues<F>;
  readonly terminal: Terminal;
  /** The command line as a person would type it again. */
  readonly commandLine: string;
}

export interface Command {
  readonly name: string;
  /** One line in the list of commands. */
  readonly summary: string;
  /** Paragraphs below it in the command's own help. */
  readonly description?: string;
  /** Its arguments as the help shows them, for example `<run...>`. */
  readonly args?: { readonly usage: string; readonly least: number; readonly most: number };
  /** A function where making the list costs time (loading schemas). */
  readonly flags: Flags | (() => Promise<Flags>);
  readonly examples: readonly { readonly line: string; readonly says: string }[];
  run(invocation: Invocation): Promise<void>;
}

/** Ties a command's flags to the values that `run` gets. */
export function defineCommand<F extends Flags>(
  command: Omit<Command, "run" | "flags"> & {
    flags: F | (() => Promise<F>);
    run(invocation: Invocation<F>): Promise<void>;
  },
): Command {
  return command as Command;
}

/** Kinds of flags. */
export const flag = {
  /** Present or not. */
  toggle: (help: string): Flag<boolean> => ({ help, parse: () => true }),

  text: (help: string, { placeholder = "<text>", ...more }: FlagOptions = {}): Flag<string> => ({
    help,
    placeholder,
    ...more,
    parse: (text) => {
      if (text === "") throw new UsageError("something that is not empty");
      return text;
    },
  }),

  /** A whole number; underscores are understood, and with `kilo` also `8k` for 8192. */
  count: (
    help: string,
    { least = 1, most = Number.MAX_SAFE_INTEGER, placeholder = "<count>", kilo = false, ...more }: CountOptions = {},
  ): Flag<number> => ({ help, placeholder, ...more, parse: (text) => parseCount(text, { least, most, kilo }) }),

  number: (
    help: string,
    { above = -Infinity, least = -Infinity, most = Infinity, placeholder = "<number>", ...more }: NumberOptions = {},
  ): Flag<number> => ({
    help,
    placeholder,
    ...more,
    parse: (text) => {
      const value = Number(text);
      if (text.trim() !== "" && Number.isFinite(value) && value > above && value >= least && value <= most)
        return value;
      const bounds = { above, "at least": least, "at most": most };
      const range = Object.entries(bounds).filter(([, bound]) => Number.isFinite(bound));
      throw new UsageError(["a number", ...range.map((bound) => bound.join(" "))].join(", "));
    },
  }),

  choice: <const T extends string>(help: string, names: readonly T[], more: FlagOptions = {}): Flag<T> => ({
    help,
    placeholder: `<${names.join("|")}>`,
    ...more,
    parse: (text) => {
      const found = names.find((name) => name === text);
      if (found === undefined) throw new UsageError(`one of ${names.join(", ")}`);
      return found;
    },
  }),

  /** Values between commas. */
  list: <T>(item: Flag<T>): Flag<T[]> => ({
    ...item,
    placeholder: `${item.placeholder},...`,
    parse: (text) => splitList(text).map(item.parse),
  }),
} as const;

interface FlagOptions {
  readonly placeholder?: string;
  readonly byDefault?: string;
  readonly short?: string;
}

interface CountOptions extends FlagOptions {
  readonly least?: number;
  readonly most?: number;
  readonly kilo?: boolean;
}

interface NumberOptions extends FlagOptions {
  /** The least that is too little. */
  readonly above?: number;
  readonly least?: number;
  readonly most?: number;
}

function parseCount(text: string, { least, most, kilo }: { least: number; most: number; kilo: boolean }): number {
  const [, digits, suffix] = /^([\d_]+)(k?)$/.exec(text) ?? [];
  const value = digits === undefined || (suffix && !kilo) ? Number.NaN : Number(digits.replaceAll("_", ""));
  const count = suffix ? value * 1024 : value;
  if (!(count >= least && count <= most)) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new UsageError(`a whole number ${range}`);
  }
  return count;
}

/** Splits at commas outside of brackets, so that `window(256),hash(16, diagonal=false)` has two items. */
function splitList(text: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let item = "";
  for (const c of text) {
    if (c === "(") depth++;
    if (c === ")") depth--;
    if (c === "," && depth === 0) {
      items.push(item.trim());
      item = "";
    } else item += c;
  }
  return [...items, item.trim()];
}

/** `jsonOut` -> `--json-out` */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]+/g, (c) => `-${c.toLowerCase()}`)}`;
}
