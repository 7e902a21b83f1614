import { describe, expect, it } from "vitest";
import { unroll } from "./unroll.ts";

const plain = (code: string) => code.replace(/\s+/g, " ").trim();

describe("unroll", () => {
  it("writes a marked loop out, with the turn's number for its variable", () => {
    const code = "for (var i = 0u; i < OWN; i++) {  // unrolled\n  sums[i] += is_in(i);\n}\nend();";
    expect(plain(unroll(code, { OWN: 2 }))).toBe("{ sums[0u] += is_in(0u); } { sums[1u] += is_in(1u); } end();");
  });

  it("writes out loops within loops, and the bodies' own braces stay", () => {
    const code = [
      "for (var i = 0u; i < 2u; i++) {  // unrolled",
      "  for (var j = 0u; j < OWN; j++) {  // unrolled",
      "    if (a) { b(i, j); }",
      "  }",
      "}",
    ].join("\n");
    const turns = [0, 1].map((i) => `{ ${[0, 1, 2].map((j) => `{ if (a) { b(${i}u, ${j}u); } }`).join(" ")} }`);
    expect(plain(unroll(code, { OWN: 3 }))).toBe(turns.join(" "));
  });

  it("leaves other loops as they are", () => {
    const code = "for (var i = 0u; i < OWN; i++) {\n  a(i);\n}";
    expect(unroll(code, { OWN: 2 })).toBe(code);
  });

  it("names the count that the launcher does not set", () => {
    expect(() => unroll("for (var i = 0u; i < OWN; i++) {  // unrolled\n}", {})).toThrow("OWN must be a number");
  });
});
