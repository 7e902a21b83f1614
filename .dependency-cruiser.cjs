// Imports run one way: cli, report -> train -> gpt -> attention -> pattern, staircase -> device.
const base = ["attention.ts", "lsh.ts", "plan.ts", "pattern/", "staircase/", "device/"];
const rooms = {
  // room: what it may import besides itself, the tensor, the errors and the random numbers
  "device/": [],
  "staircase/": ["device/"],
  "pattern/": ["staircase/", "device/"],
  "reference/": ["device/", "staircase/", "pattern/"],
  "data/": ["files/"],
  "files/": [],
  "gpt/": [...base, "data/"],
  "conformance/": [...base, "reference/"],
  "train/": ["gpt/", ...base, "data/", "files/"],
  "report/": ["train/", "gpt/", ...base, "data/", "files/"],
};
const shared = ["tensor.ts", "errors.ts", "rng.ts"];
const literal = (path) => path.replaceAll(".", "\\.");

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "web-uses-public-entries-that-run-in-a-browser",
      severity: "error",
      from: { path: "^web/src/" },
      to: { path: "^src/", pathNot: "^src/(index|webgpu|gpt/index)\\.ts$" },
    },
    ...Object.entries(rooms).map(([room, allowed]) => ({
      name: `${room.replace(/\W/g, "")}-imports-downhill`,
      severity: "error",
      from: { path: `^src/${room}`, pathNot: "\\.test\\.ts$" },
      to: {
        path: "^src/",
        pathNot: [room, ...shared, ...allowed].map((p) => `^src/${literal(p)}`).join("|"),
      },
    })),
  ],
  options: {
    // Types may point anywhere; what runs may not.
    tsPreCompilationDeps: false,
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    exclude: { path: "\\.as\\.ts$|generated/" },
  },
};
