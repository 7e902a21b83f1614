import { defineCommand, flag, UsageError } from "./command.ts";
import { withInterrupt } from "./interrupt.ts";
import { deviceFlags, withDevice } from "./options.ts";

export const command = defineCommand({
  name: "sample",
  summary: "let a trained model write",
  description:
    "The model is a run's newest checkpoint, or a file that the playground or `scfa export --format scfa` wrote.",
  args: { usage: "<run | file.safetensors>", least: 1, most: 1 },
  flags: {
    ...deviceFlags,
    prompt: flag.text("text to go on from", { byDefault: "a line feed" }),
    count: flag.count("tokens to write", { byDefault: "400" }),
    temperature: flag.number("0 always takes the likeliest, 1 is as the model says", { least: 0, byDefault: "0.8" }),
    topK: flag.count("choose among this many of the likeliest", { byDefault: "40" }),
    seed: flag.count("the same seed gives the same text", { least: 0, most: 2 ** 32 - 1, byDefault: "1" }),
  },
  examples: [
    { line: 'scfa sample runs/a --prompt "Call me"', says: "400 tokens after two words" },
    {
      line: "scfa sample runs/a --count 2000 --temperature 1 --seed 7 > story.txt",
      says: "the text alone goes to a file",
    },
  ],
  async run({ args, flags, terminal }) {
    const [{ openModel }, { generate }, { getTokenizer }] = await Promise.all([
      import("./modelSource.ts"),
      import("../gpt/sampling.ts"),
      import("../data/tokenizers.ts"),
    ]);
    const model = await openModel(args[0]!, { onMessage: (text) => terminal.err(`${text}\n`) });
    await withDevice(flags, terminal, async (device) => {
      const { parameters, tokenizer: name } = await model.load(device);
      const tokenizer = getTokenizer(name);
      const prompt = flags.prompt ?? "\n";
      const tokens = tokenizer.encode(prompt);
      const { vocabulary } = parameters.config;
      if (tokens.some((token) => token >= vocabulary)) {
        throw new UsageError(`the prompt has tokens that the model's vocabulary of ${vocabulary} lacks.`);
      }
      const choices = {
        count: flags.count ?? 400,
        temperature: flags.temperature ?? 0.8,
        topK: flags.topK ?? 40,
        seed: flags.seed ?? 1,
        tokenLimit: tokenizer.vocabularySize,
      };
      // Characters may be cut across tokens; the decoder holds a beginning back until its end is there.
      const decoder = new TextDecoder();
      try {
        await withInterrupt(terminal, { saying: "Stopping." }, async (signal) => {
          terminal.out(prompt);
          for await (const token of generate(parameters, tokens, choices)) {
            terminal.out(decoder.decode(tokenizer.decodeBytes([token]), { stream: true }));
            if (signal.aborted) break;
          }
          terminal.out(`${decoder.decode()}\n`);
        });
      } finally {
        parameters.dispose();
      }
    });
  },
});
