import { defineCommand, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "export",
  summary: "write a run's weights as a Hugging Face GPT-2 (config.json, model.safetensors)",
  description:
    "Only a model that is a GPT-2 can be one there: dense attention, learned positions, keys of its own (--attention dense --positions learned --shared-qk off).",
  args: { usage: "<run>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    format: flag.choice("form of the files", ["hf"], { byDefault: "hf" }),
    out: flag.text("folder to make", { placeholder: "<folder>" }),
  },
  examples: [
    { line: "scfa export runs/a --out exported/a", says: "for GPT2LMHeadModel.from_pretrained('exported/a')" },
  ],
  async run({ args, flags, terminal }) {
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa export needs a folder to write to: --out <folder>.");
    const [{ openRun }, { exportHuggingFace, loadModel }, { toHuggingFaceConfig }] = await Promise.all([
      import("../train/run.ts"),
      import("../train/load.ts"),
      import("../gpt/huggingface.ts"),
    ]);
    const run = await openRun(args[0]!);
    // Refused before a device is opened for it.
    toHuggingFaceConfig(run.config.model);
    await withDevice(flags, terminal, async (device) => {
      const { parameters, state } = await loadModel(run, device, { onMessage: (text) => terminal.err(`${text}\n`) });
      try {
        await exportHuggingFace(out, parameters);
        terminal.out(`${out}: the weights after step ${state.step}\n`);
      } finally {
        parameters.dispose();
      }
    });
  },
});
