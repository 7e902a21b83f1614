import { defineCommand, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "import",
  summary: "begin a run from a Hugging Face GPT-2 (config.json, model.safetensors)",
  args: { usage: "<folder>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    out: flag.text("folder of the run to make", { placeholder: "<folder>" }),
    data: flag.text("prepared tokens (gpt2) to train on later", { placeholder: "<folder>" }),
    steps: flag.count("steps of the training to come", { byDefault: "1000" }),
  },
  examples: [
    { line: "scfa import gpt2 --out runs/gpt2", says: "then: scfa sample runs/gpt2 --prompt 'The whale'" },
    { line: "scfa import gpt2 --data data/docs --out runs/tuned", says: "then: scfa train --out runs/tuned --resume" },
  ],
  async run({ args, flags, terminal }) {
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa import needs a folder for the run: --out <folder>.");
    const { importRun } = await import("./importRun.ts");
    await withDevice(flags, terminal, async (device) => {
      const { parameters } = await importRun({
        from: args[0]!,
        out,
        device,
        ...(flags.data !== undefined && { data: flags.data }),
        ...(flags.steps !== undefined && { steps: flags.steps }),
      });
      terminal.out(`${out}: ${parameters.toLocaleString("en")} parameters. Next: scfa sample ${out} --prompt "..."\n`);
    });
  },
});
