import { readFileSync } from "node:fs";

/** The version in package.json, which lies two folders up from src/cli and from dist/cli alike. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
}
