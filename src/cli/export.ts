import { defineCommand, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "export",
  summary: "write a run's weights as a Hugging Face GPT-2 (config.json, model.safetensors)",
  description:
    "Only a model that is a GPT-2 can be one there: dense attention, learned positions, keys of its own (--shared-qk off).",
  args: { usage: "<run>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    format: flag.choice("form of the files", ["hf"], { byDefault: "hf" }),
    out: flag.text("folder to make", { placeholder: "<folder>" }),
    overwrite: flag.toggle("replace an earlier export in the folder"),
  },
  examples: [
    { line: "scfa export runs/a --out exported/a", says: "for GPT2LMHeadModel.from_pretrained('exported/a')" },
  ],
  async run({ args, flags, terminal }) {
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa export needs a folder to write to: --out <folder>.");
    const [{ openRun }, { openTrained }, huggingFace, { safetensorsChunks }, { publishFolder }] = await Promise.all([
      import("../train/run.ts"),
      import("./trained.ts"),
      import("../gpt/huggingface.ts"),
      import("../data/safetensors.ts"),
      import("../files/publish.ts"),
    ]);
    const run = await openRun(args[0]!);
    const config = huggingFace.toHuggingFaceConfig(run.config.model);
    await withDevice(flags, terminal, async (device) => {
      const { parameters, state } = await openTrained(run, device, (text) => terminal.err(`${text}\n`));
      try {
        const tensors = huggingFace.toHuggingFaceTensors(parameters);
        const names = ["config.json", "model.safetensors"];
        await publishFolder(
          out,
          async (folder) => {
            await folder.write("config.json", `${JSON.stringify(config, null, 2)}\n`);
            await folder.write("model.safetensors", safetensorsChunks(tensors, { format: "pt" }));
          },
          flags.overwrite ? { overwrite: true, expected: names } : {},
        );
        terminal.out(`${out}: ${tensors.length} tensors of step ${state.step}\n`);
      } finally {
        parameters.dispose();
      }
    });
  },
});
