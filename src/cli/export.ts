import { defineCommand, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "export",
  summary: "write a run's weights as a Hugging Face GPT-2 (config.json, model.safetensors), or as one file",
  description:
    "Only a model that is a GPT-2 can be one at Hugging Face: dense attention, learned positions, keys of its own (--attention dense --positions learned --shared-qk off). Any model can be one file, which `scfa sample` and the playground read.",
  args: { usage: "<run>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    format: flag.choice("form of the files", ["hf", "scfa"], { byDefault: "hf" }),
    out: flag.text("folder to make, or the file", { placeholder: "<path>" }),
  },
  examples: [
    { line: "scfa export runs/a --out exported/a", says: "for GPT2LMHeadModel.from_pretrained('exported/a')" },
    { line: "scfa export runs/a --format scfa --out a.safetensors", says: "for scfa sample a.safetensors" },
  ],
  async run({ args, flags, terminal }) {
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa export needs a place to write to: --out <path>.");
    const isFile = flags.format === "scfa";
    if (isFile && !out.endsWith(".safetensors")) {
      throw new UsageError(`the file's name must end in .safetensors, got ${out}.`);
    }
    const [{ openRun }, { exportHuggingFace, exportModel, loadModel }, { toHuggingFaceConfig }, { tokenizerOf }] =
      await Promise.all([
        import("../train/run.ts"),
        import("../train/load.ts"),
        import("../gpt/huggingface.ts"),
        import("./trainingData.ts"),
      ]);
    const run = await openRun(args[0]!);
    // Refused before a device is opened for it.
    if (!isFile) toHuggingFaceConfig(run.config.model);
    await withDevice(flags, terminal, async (device) => {
      const { parameters, state } = await loadModel(run, device, { onMessage: (text) => terminal.err(`${text}\n`) });
      try {
        if (isFile) await exportModel(out, parameters, { tokenizer: tokenizerOf(run) });
        else await exportHuggingFace(out, parameters);
        terminal.out(`${out}: the weights after step ${state.step}\n`);
      } finally {
        parameters.dispose();
      }
    });
  },
});
