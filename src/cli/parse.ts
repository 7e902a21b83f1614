import { type ParseArgsConfig, parseArgs } from "node:util";
import { type Command, type Flags, flagName, UsageError } from "./command.ts";

/** What a command line says to a command. */
export interface Parsed {
  readonly args: readonly string[];
  readonly flags: Record<string, unknown>;
}

/**
 * Reads a command's arguments and flags. Node's own parser is used because it leaves values as they were typed; parsers
 * that turn `007` into 7 or a prompt of `1e3` into 1000 would change file names and texts.
 * @throws UsageError in one sentence
 */
export function parseCommandLine(command: Command, flags: Flags, argv: readonly string[]): Parsed {
  const keys = new Map(Object.keys(flags).map((key) => [flagName(key).slice(2), key]));
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, key] of keys) {
    const { placeholder, short } = flags[key]!;
    options[name] = { type: placeholder === undefined ? "boolean" : "string", ...(short ? { short } : {}) };
  }
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  const args: string[] = [];
  const values: Record<string, unknown> = {};
  for (const token of tokens) {
    if (token.kind === "positional") args.push(token.value);
    if (token.kind !== "option") continue;
    const key = keys.get(token.name);
    if (key === undefined) throw unknownFlag(command, token.rawName, [...keys.keys()]);
    if (key in values) throw new UsageError(`${token.rawName} is given twice. Give it once.`);
    values[key] = flagValue(flags[key]!, token);
  }
  const { usage, least, most } = command.args ?? { usage: "", least: 0, most: 0 };
  if (args.length < least) throw new UsageError(`scfa ${command.name} needs ${usage}. ${seeHelp(command.name)}`);
  if (args.length > most) {
    const takes = most === 0 ? "no arguments" : `at most ${most === 1 ? "one argument" : `${most} arguments`}`;
    throw new UsageError(`scfa ${command.name} takes ${takes}, got "${args[most]}". ${seeHelp(command.name)}`);
  }
  return { args, flags: values };
}

interface OptionToken {
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function flagValue({ placeholder, parse }: Flags[string], { rawName, value, inlineValue }: OptionToken): unknown {
  if (placeholder === undefined) {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value, got "${value}".`);
    return parse("");
  }
  if (value === undefined) throw new UsageError(`${rawName} needs a value: ${rawName} ${placeholder}.`);
  // A value that looks like a flag is almost always a forgotten value; a real one can be joined by "=".
  if (!inlineValue && value.startsWith("-") && value.length > 1 && Number.isNaN(Number(value))) {
    throw new UsageError(
      `${rawName} needs a value, got the flag "${value}". If that is the value: ${rawName}=${value}`,
    );
  }
  try {
    return parse(value);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${rawName} takes ${error.message}, got "${value}".`);
    throw error;
  }
}

function unknownFlag(command: Command, rawName: string, names: readonly string[]): UsageError {
  const near = nearest(rawName.replace(/^-+/, ""), names);
  const hint = near === undefined ? seeHelp(command.name) : `Did you mean --${near}?`;
  return new UsageError(`scfa ${command.name} has no flag ${rawName}. ${hint}`);
}

export function seeHelp(command?: string): string {
  return `See scfa ${command ? `${command} ` : ""}--help.`;
}

/** The name that a typing error most likely meant, if one is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names.map((name) => ({ name, distance: editDistance(word, name) }));
  ranked.sort((a, b) => a.distance - b.distance);
  return ranked[0] && ranked[0].distance <= Math.max(1, Math.floor(word.length / 3)) ? ranked[0].name : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i + j));
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = swap ? rows[i - 2]![j - 2]! + 1 : Infinity;
      rows[i]![j] = Math.min(rows[i]![j - 1]! + 1, rows[i - 1]![j]! + 1, replaced, swapped);
    }
  }
  return rows[a.length]![b.length]!;
}
