import { type Flag, type Flags, flag, UsageError } from "./command.ts";

/** What is read of a JSON schema, as zod makes it. */
interface Property {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly anyOf?: readonly Property[];
}

/**
 * Flags for the fields of a checked configuration, so that both have one list of names, bounds and explanations.
 * @param properties of the configuration's JSON schema
 */
export function schemaFlags(properties: Readonly<Record<string, unknown>>): Flags {
  return Object.fromEntries(
    Object.entries(properties).map(([key, property]) => [key, fieldFlag(property as Property)]),
  );
}

function fieldFlag(field: Property): Flag {
  const help = (field.description ?? "").replace(/ \(default: .*\)$/, "");
  const inWords = / \(default: (.*)\)$/.exec(field.description ?? "")?.[1];
  const byDefault =
    inWords ?? (field.default === undefined || field.default === null ? undefined : String(field.default));
  const more = byDefault === undefined ? {} : { byDefault };
  const nullable = field.anyOf?.find(({ type }) => type === "null") && field.anyOf.find(({ type }) => type !== "null");
  if (nullable) return orNone({ ...fieldFlag(nullable), help, ...more });
  if (field.enum) return flag.choice(help, field.enum, more);
  switch (field.type) {
    case "boolean":
      return { ...flag.choice(help, ["on", "off"], { byDefault: field.default ? "on" : "off" }), parse: parseSwitch };
    case "integer":
      return flag.count(help, { ...bounds(field), kilo: (field.minimum ?? 0) > 0, ...more });
    case "number":
      return flag.number(help, { ...bounds(field), ...more });
    default:
      return { ...flag.text(help, more), parse: parseLayers };
  }
}

function bounds({ minimum, maximum, exclusiveMinimum }: Property) {
  return {
    ...(minimum !== undefined && { least: minimum }),
    ...(maximum !== undefined && { most: maximum }),
    ...(exclusiveMinimum !== undefined && { above: exclusiveMinimum }),
  };
}

function orNone(inner: Flag): Flag {
  return { ...inner, parse: (text) => (text === "none" ? null : inner.parse(text)) };
}

function parseSwitch(text: string): boolean {
  if (text === "on" || text === "off") return text === "on";
  throw new UsageError("on or off");
}

/** One text for all layers, or texts between semicolons for each. */
function parseLayers(text: string): string | string[] {
  const list = text.split(";").map((part) => part.trim());
  return list.length === 1 ? list[0]! : list;
}
