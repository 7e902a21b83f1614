import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // The playground imports the package by name, as its users do.
  resolve: {
    alias: [
      { find: "scfa/webgpu", replacement: resolve("src/webgpu.ts") },
      { find: "scfa/gpt", replacement: resolve("src/gpt/index.ts") },
      { find: /^scfa$/, replacement: resolve("src/index.ts") },
    ],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "web/test/**/*.test.ts"],
    // Two at a time: the CPU device brings its own worker pool to every test file.
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
