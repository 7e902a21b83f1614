import type { Device } from "../device/device.ts";
import type { TrainEvent, TrainResult } from "../train/loop.ts";
import type { Run } from "../train/run.ts";
import { defineCommand, type Flags, flag, type Invocation, UsageError } from "./command.ts";
import { withInterrupt } from "./interrupt.ts";
import { deviceFlags, withDevice } from "./options.ts";
import { type Progress, progressOn, type ShowProgress } from "./progress.ts";
import { type Terminal, thousands } from "./terminal.ts";
import type { PreparedData } from "./trainingData.ts";

const ownFlags = {
  data: flag.text("a text (.txt, .jsonl, .parquet) or a folder that `scfa prepare` made", { placeholder: "<path>" }),
  out: flag.text("folder of the run", { placeholder: "<folder>" }),
  resume: flag.toggle("go on with the run in the folder from its newest checkpoint"),
  tokenizer: flag.choice("how a text becomes tokens", ["bytes", "gpt2"], { byDefault: "bytes" }),
  ...deviceFlags,
};

export const command = defineCommand({
  name: "train",
  summary: "train a language model on a text of your own",
  description:
    "Everything goes into one folder: the configuration, a line for each step (metrics.jsonl), checkpoints. Ctrl-C finishes the step, writes a checkpoint and stops; with --resume the run goes on, to the same losses as if it had never stopped. Settings come from a preset, then from a JSON file {model, train, data} if one is given, then from flags.",
  args: { usage: "[config.json]", least: 0, most: 1 },
  flags: async (): Promise<Flags> => {
    const { configFlags, presetAsFlags, presetNames } = await import("./trainConfig.ts");
    const help = `settings to start from, in place of the defaults below; demo is ${presetAsFlags("demo")}`;
    const preset = flag.choice(help, presetNames, { byDefault: "demo, without a file" });
    return { ...ownFlags, preset, ...configFlags };
  },
  examples: [
    { line: "scfa train --data my.txt --out runs/a", says: "a small model of bytes that learns in minutes" },
    {
      line: "scfa train --data my.txt --out runs/b --attention 'hash(16)' --context 8k --steps 500",
      says: "the same with hashed attention and a longer context",
    },
    { line: "scfa train --out runs/a --resume", says: "go on after Ctrl-C, a crash or a power cut" },
    { line: "scfa train config.json --data data/docs --out runs/c", says: "settings from a file" },
  ],
  async run(invocation) {
    const { flags, terminal } = invocation as Invocation<typeof ownFlags>;
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa train needs a folder for the run: --out <folder>.");
    const { run, data } = flags.resume ? await resumed(invocation, out) : await begun(invocation, out);
    try {
      await withDevice(flags, terminal, async (device) => {
        const result = await trainOn(invocation, { run, data, device });
        if (result.finished) await describeFinished(run, data, device);
        terminal.out(farewell(out, result));
      });
    } finally {
      await data.dataset.close();
    }
  },
});

interface Work {
  readonly run: Run;
  readonly data: PreparedData;
}

/** A new run: its data prepared, its configuration checked and written. */
async function begun({ args, flags, terminal }: Invocation, out: string): Promise<Work> {
  const own = flags as Invocation<typeof ownFlags>["flags"] & { preset?: string };
  const [config, { createRun, holdsRun }, { openTrainingData, vocabularyFor }, { dirname, resolve }] =
    await Promise.all([
      import("./trainConfig.ts"),
      import("../train/run.ts"),
      import("./trainingData.ts"),
      import("node:path"),
    ]);
  if (await holdsRun(out)) {
    throw new UsageError(`${out} holds a run already. Go on with it by --resume, or choose another folder.`);
  }
  const withVocabulary = (tokenizer: "bytes" | "gpt2") => ({
    model: { vocabulary: vocabularyFor(tokenizer) },
    train: {},
    data: {},
  });
  const file = args[0] === undefined ? null : await config.readConfigFile(args[0]);
  const said = config.mergeConfigs(
    ...(own.preset || !file ? [config.configOfPreset(own.preset ?? "demo")] : []),
    ...(file ? [file] : []),
    config.configOfFlags(flags),
  );
  const inFile = said.data["folder"];
  const path = own.data ?? (typeof inFile === "string" ? resolve(dirname(args[0]!), inFile) : undefined);
  if (path === undefined) throw new UsageError("scfa train needs something to learn from: --data <path>.");
  // Checked before the text is prepared, which may take long and leaves a folder behind.
  config.checkConfig(config.mergeConfigs(withVocabulary(own.tokenizer ?? "bytes"), said), {
    folder: path,
    tokenizer: own.tokenizer ?? "bytes",
  });
  const data = await openTrainingData(path, {
    runFolder: out,
    terminal,
    ...(own.tokenizer && { tokenizer: own.tokenizer }),
  });
  const fitted = config.mergeConfigs(withVocabulary(data.tokenizer), {
    ...said,
    model: withContext(said.model, { asked: flags["context"] !== undefined || file !== null, data, terminal }),
  });
  const { folder, tokenizer } = data;
  return { run: await createRun(out, config.checkConfig(fitted, { folder, tokenizer })), data };
}

/** A preset's context is shortened where the text is too short for it; one that was asked for stays. */
function withContext(
  model: Readonly<Record<string, unknown>>,
  { asked, data, terminal }: { asked: boolean; data: PreparedData; terminal: Terminal },
): Readonly<Record<string, unknown>> {
  const { train, validation } = data.dataset;
  const room = Math.min(train.count, validation.count) - 1;
  if (asked || typeof model["context"] !== "number" || model["context"] <= room || room < 2) return model;
  const context = 2 ** Math.floor(Math.log2(room));
  terminal.err(`context ${context}: the text is too short for ${model["context"]}\n`);
  return { ...model, context };
}

/** The run in the folder, with its data. */
async function resumed({ args, flags, terminal }: Invocation, out: string): Promise<Work> {
  const allowed = ["out", "resume", "data", ...Object.keys(deviceFlags)];
  const extra = Object.keys(flags).filter((key) => !allowed.includes(key));
  if (args.length > 0 || extra.length > 0) {
    throw new UsageError(
      "a resumed run keeps the configuration it was begun with, so --resume goes with --out, --data and what chooses the device alone.",
    );
  }
  const { openRun } = await import("../train/run.ts");
  const { dataFolder, openTrainingData } = await import("./trainingData.ts");
  const run = await openRun(out);
  const path = (flags["data"] as string | undefined) ?? (await dataFolder(run));
  return { run, data: await openTrainingData(path, { runFolder: out, terminal }) };
}

async function trainOn(
  { terminal, commandLine }: Invocation,
  { run, data, device }: Work & { device: Device },
): Promise<TrainResult> {
  const [{ train }, { runOrigin, writeRunDetails }, showProgress] = await Promise.all([
    import("../train/loop.ts"),
    import("./runDetails.ts"),
    progressOn(terminal),
  ]);
  const { model } = run.config;
  const view = new TrainView(terminal, run.config.train.steps, showProgress);
  let written = Promise.resolve();
  return withInterrupt(terminal, { saying: "Stopping after this step, with a checkpoint." }, async (signal) => {
    const onEvent = (event: TrainEvent) => {
      view.show(event);
      if (event.type !== "start" || event.resumedFrom !== null) return;
      const { tokenizer, description } = data;
      const facts = { commandLine, device, model, parameters: event.parameters, tokenizer, data: description };
      written = writeRunDetails(run.folder, runOrigin(facts));
    };
    try {
      const result = await train({ run, device, data: data.dataset, signal, onEvent });
      await written;
      view.stop();
      if (!result.finished) terminal.err(farewell(run.folder, result));
      return result;
    } finally {
      view.stop();
    }
  });
}

/** Shows a run's events as progress. */
class TrainView {
  #progress: Progress | undefined;

  constructor(
    readonly terminal: Terminal,
    readonly steps: number,
    readonly showProgress: ShowProgress,
  ) {}

  show(event: TrainEvent): void {
    const { terminal, steps } = this;
    switch (event.type) {
      case "start": {
        const from = event.resumedFrom ? `; going on after step ${event.step}` : "";
        const size = `${thousands(event.parameters)} parameters, ${thousands(event.tokensPerStep)} tokens a step`;
        terminal.err(`${size}${from}\n`);
        this.#progress = this.showProgress({ total: steps, label: "step", startAt: event.step });
        break;
      }
      case "step": {
        const { step, loss, tokensPerS, valLoss } = event.metric;
        if (valLoss !== undefined) this.#say(`step ${step}: validation loss ${valLoss.toFixed(3)}`);
        this.#progress?.update(step, [`loss ${loss.toFixed(3)}`, `${thousands(tokensPerS)} tokens/s`]);
        break;
      }
      case "message":
        this.#say(event.text);
    }
  }

  stop(): void {
    this.#progress?.stop();
    this.#progress = undefined;
  }

  #say(text: string): void {
    if (this.#progress) this.#progress.say(text);
    else this.terminal.err(`${text}\n`);
  }
}

/** Adds a sample and pictures of attention to what a report will show. */
async function describeFinished(run: Run, data: PreparedData, device: Device): Promise<void> {
  const { loadModel } = await import("../train/load.ts");
  const { addFindings } = await import("./runDetails.ts");
  const { parameters } = await loadModel(run, device);
  try {
    await addFindings(run.folder, parameters, { validation: data.dataset.validation, tokenizer: data.tokenizer });
  } finally {
    parameters.dispose();
  }
}

function farewell(folder: string, { step, finished }: TrainResult): string {
  if (!finished) return `${folder}: stopped after step ${step}. Go on with: scfa train --out ${folder} --resume\n`;
  return `${folder}: ${step} steps done. Next: scfa sample ${folder} --prompt "..." or scfa report ${folder}\n`;
}
