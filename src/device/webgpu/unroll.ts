/**
 * Writes out the loops that a kernel marks so, a copy of the body for each turn:
 *
 *     for (var i = 0u; i < COUNT; i++) {  // unrolled
 *
 * Not every driver does it of its own, and an array that is indexed by what is not constant does not stay in registers.
 * @param constants the counts by name
 */
export function unroll(code: string, constants: Readonly<Record<string, number | boolean>>): string {
  const loop = /for \(var (\w+) = 0u; \1 < (\w+); \1\+\+\) \{ *\/\/ unrolled\n/.exec(code);
  if (!loop) return code;
  const [head, variable, bound] = loop as unknown as [string, string, string];
  const count = /^\d+u$/.test(bound) ? Number.parseInt(bound, 10) : constants[bound];
  if (typeof count !== "number")
    throw new Error(`unroll: ${bound} must be a number that the launcher sets, got ${count}.`);
  const start = loop.index + head.length;
  const end = closingBrace(code, start);
  const body = code.slice(start, end);
  const use = new RegExp(`\\b${variable}\\b`, "g");
  const copies = Array.from({ length: count }, (_, turn) => `{\n${body.replace(use, `${turn}u`)}}`);
  return unroll(code.slice(0, loop.index) + copies.join("\n") + code.slice(end + 1), constants);
}

/** Where the brace closes that was opened before `start`. */
function closingBrace(code: string, start: number): number {
  let depth = 1;
  for (let at = start; at < code.length; at++) {
    if (code[at] === "{") depth++;
    else if (code[at] === "}" && --depth === 0) return at;
  }
  throw new Error("unroll: a loop must end, got none that does.");
}
