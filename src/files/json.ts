import type { ZodError, ZodType, z } from "zod";
import { DataError } from "../errors.ts";
import type { ByteSource } from "./source.ts";
import { checkUtf8, decodeUtf8 } from "./utf8.ts";

export interface JsonLimits {
  /** Longest text taken, in bytes. */
  maxBytes?: number;
  /** Deepest nesting of objects and arrays. */
  maxDepth?: number;
  /** Most values in all objects and arrays together; a value costs some 50 bytes of memory. */
  maxValues?: number;
}

/** Where in which file; errors begin with it. */
export interface Place {
  /** What errors call the source of the text. */
  file: string;
  /** Put before each place in an error, for example "line 7". */
  within?: string;
}

const defaults = { maxBytes: 16 << 20, maxDepth: 64, maxValues: 4_000_000 };

/**
 * Reads a whole JSON source and checks it against a schema.
 * @throws DataError if it is too long, not UTF-8, not JSON, names a key twice, or does not fit the schema; the error names
 * the file and the place inside (`config.json: at layers[2].heads: expected number, received string.`)
 */
export async function readJson<S extends ZodType>(
  source: ByteSource,
  schema: S,
  limits: JsonLimits = {},
): Promise<z.infer<S>> {
  const maxBytes = limits.maxBytes ?? defaults.maxBytes;
  if (source.size > maxBytes) {
    throw new DataError(
      source.name,
      "length",
      `a JSON file of at most ${maxBytes} bytes is expected, got ${source.size}`,
    );
  }
  const value = parseJson(await source.read(0, source.size), { file: source.name }, limits);
  return checkSchema(value, schema, { file: source.name });
}

/**
 * Parses JSON from untrusted bytes or text. Depth and number of values are limited before anything is built, and a key
 * given twice is an error instead of a silent loss.
 * @throws DataError with line and column
 */
export function parseJson(input: Uint8Array | string, place: Place, limits: JsonLimits = {}): unknown {
  const text = typeof input === "string" ? input : textOf(input, place);
  scan(text, place, { ...defaults, ...limits });
  try {
    return JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec((error as Error).message)?.[1];
    if (position === undefined)
      throw new DataError(place.file, inside(place, "at the end"), "the JSON text ends too early");
    throw new DataError(place.file, lineAndColumn(text, Number(position), place), "this is not valid JSON");
  }
}

/**
 * Checks a value against a schema.
 * @throws DataError naming the path of each of the first three values that do not fit
 */
export function checkSchema<S extends ZodType>(value: unknown, schema: S, place: Place): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [first, ...others] = (result.error as ZodError).issues.slice(0, 3).map((issue) => ({
    path: issue.path.length > 0 ? `at ${pathText(issue.path)}` : "at the top",
    message: issue.message.replace(/^Invalid input: /, ""),
  }));
  const rest = others.map(({ path, message }) => `; ${path}: ${message}`).join("");
  throw new DataError(place.file, inside(place, first!.path), first!.message + rest);
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, i) => {
      if (typeof key === "number") return `[${key}]`;
      if (!/^[\w$-]+$/.test(String(key))) return `[${JSON.stringify(String(key).slice(0, 100))}]`;
      return i === 0 ? String(key) : `.${String(key)}`;
    })
    .join("");
}

function textOf(bytes: Uint8Array, place: Place): string {
  const { invalidAt, wholeUntil } = checkUtf8(bytes);
  const bad = invalidAt >= 0 ? invalidAt : wholeUntil < bytes.length ? wholeUntil : -1;
  if (bad >= 0) throw new DataError(place.file, inside(place, `byte ${bad}`), "the text is not UTF-8");
  return decodeUtf8(bytes);
}

/** Walks over the tokens without building anything, to enforce the limits and find keys given twice. */
function scan(text: string, place: Place, { maxDepth, maxValues }: Required<JsonLimits>): void {
  const open: (Set<string> | undefined)[] = [];
  let values = 0;
  let keyNext = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === quote) {
      const end = endOfString(text, i);
      if (keyNext) addKey(open.at(-1), text, i, end, place);
      keyNext = false;
      i = end;
    } else if (char === openBrace || char === openBracket) {
      keyNext = char === openBrace;
      if (open.push(keyNext ? new Set() : undefined) > maxDepth) {
        throw new DataError(
          place.file,
          lineAndColumn(text, i, place),
          `values are nested deeper than ${maxDepth} levels`,
        );
      }
    } else if (char === closeBrace || char === closeBracket) {
      open.pop();
      keyNext = false;
    } else if (char === comma) {
      keyNext = open.at(-1) !== undefined;
      if (++values > maxValues) {
        throw new DataError(place.file, lineAndColumn(text, i, place), `there are more than ${maxValues} values`);
      }
    }
  }
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

function addKey(keys: Set<string> | undefined, text: string, start: number, end: number, place: Place): void {
  const raw = text.slice(start + 1, end);
  const key = raw.includes("\\") ? unescapeKey(raw) : raw;
  if (keys?.has(key)) {
    const name = JSON.stringify(key.slice(0, 100));
    throw new DataError(place.file, lineAndColumn(text, start, place), `the key ${name} is given twice`, "Remove one.");
  }
  keys?.add(key);
}

function unescapeKey(raw: string): string {
  try {
    return JSON.parse(`"${raw}"`);
  } catch {
    return raw; // The parser proper will name the place.
  }
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

function lineAndColumn(text: string, position: number, place: Place): string {
  const before = text.slice(0, position);
  const line = before.split("\n").length;
  return inside(place, `line ${line}, column ${position - before.lastIndexOf("\n")}`);
}

/** A place inside a place, for errors. */
export function inside(place: Place, where: string): string {
  return place.within === undefined ? where : `${place.within}, ${where}`;
}
