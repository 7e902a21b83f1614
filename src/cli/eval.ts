import { defineCommand, flag } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "eval",
  summary: "measure the validation loss of a trained run",
  args: { usage: "<run>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    data: flag.text("other prepared tokens to measure on", { placeholder: "<folder>", byDefault: "the run's own" }),
    batches: flag.count("validation batches, spread evenly; all if there are fewer", { byDefault: "all" }),
    json: flag.toggle("print one JSON object"),
  },
  examples: [
    { line: "scfa eval runs/a", says: "all of the validation text" },
    { line: "scfa eval runs/a --data data/other --json", says: "another text, for a program" },
  ],
  async run({ args, flags, terminal }) {
    const [folder] = args as [string];
    const [{ openRun }, { loadModel }, { evaluate }, { Gpt }, { openDataset }, { dataFolder }] = await Promise.all([
      import("../train/run.ts"),
      import("../train/load.ts"),
      import("../train/evaluate.ts"),
      import("../gpt/model.ts"),
      import("../data/loader.ts"),
      import("./trainingData.ts"),
    ]);
    const run = await openRun(folder);
    const dataset = await openDataset(flags.data ?? (await dataFolder(run)));
    try {
      await withDevice(flags, terminal, async (device) => {
        const { parameters, state } = await loadModel(run, device, { onMessage: (text) => terminal.err(`${text}\n`) });
        const { batch, context } = run.config.train;
        const model = new Gpt(parameters, { batch, training: false, ...(context !== undefined && { context }) });
        try {
          const loss = await evaluate(model, dataset, { batches: flags.batches ?? Number.MAX_SAFE_INTEGER });
          const facts = { run: folder, step: state.step, loss, perplexity: Math.exp(loss) };
          const isBytes = dataset.validation.tokenizer === "bytes";
          const all = { ...facts, ...(isBytes && { bitsPerByte: loss / Math.LN2 }) };
          if (flags.json) terminal.out(`${JSON.stringify(all)}\n`);
          else {
            const more = isBytes
              ? `${(loss / Math.LN2).toFixed(4)} bits per byte`
              : `perplexity ${facts.perplexity.toFixed(2)}`;
            terminal.out(`${folder} after step ${state.step}: validation loss ${loss.toFixed(4)} nats, ${more}\n`);
          }
        } finally {
          model.dispose();
          parameters.dispose();
        }
      });
    } finally {
      await dataset.close();
    }
  },
});
