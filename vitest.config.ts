import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Two at a time: the CPU device brings its own worker pool to every test file.
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
