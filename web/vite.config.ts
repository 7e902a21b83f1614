import { resolve } from "node:path";
import { defineConfig } from "vite";
import manifest from "../package.json" with { type: "json" };

const root = resolve(import.meta.dirname, "..");

/** What gives a page memory to share with its workers. A host that cannot send them serves the site all the same. */
const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** The package's public entries as they were built, the longest name first: a shorter one would match its beginning. */
const alias = (["./webgpu", "./gpt", "."] as const).map((name) => ({
  find: name.replace(".", "scfa"),
  replacement: resolve(root, manifest.exports[name].default),
}));

export default defineConfig({
  root: import.meta.dirname,
  // Relative, so that the built folder may lie anywhere on a host.
  base: "./",
  // The trained model and a text; made by scripts/model.mjs, never committed.
  publicDir: "data",
  resolve: { alias },
  worker: { format: "es" },
  // A file that is not there is not found, rather than answered with the page.
  appType: "mpa",
  build: { target: "es2022", outDir: "dist", emptyOutDir: true },
  server: { headers: isolation },
  preview: { headers: isolation },
});
