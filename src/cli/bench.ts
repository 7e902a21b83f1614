import { benchAttention } from "./benchAttention.ts";
import { benchFlags } from "./benchCommon.ts";
import { benchTrain, checkTrainFlags } from "./benchTrain.ts";
import { defineCommand, UsageError } from "./command.ts";
import { withDevice } from "./options.ts";

export const command = defineCommand({
  name: "bench",
  summary: "time attention, or whole training steps, for several patterns on this machine",
  description:
    "Everything is run in turns on the same inputs; the median counts. `attention` times the whole operation (hashing, staircase, attention) and checks every result against exact arithmetic on sampled rows (of sampled heads, where there is much). If onnxruntime-node can be found from the working folder, its causal attention runs beside: GroupQueryAttention on the CPU, MultiHeadAttention on WebGPU. To get it: ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save onnxruntime-node. `train` times training steps of language models that differ in their attention alone, at the weights that a run begins with, on tokens that are drawn anew for each step.",
  args: { usage: "<attention|train>", least: 1, most: 1 },
  flags: benchFlags,
  examples: [
    { line: "scfa bench attention", says: "dense, hash and drop at 2k and 8k tokens" },
    {
      line: "scfa bench attention --lengths 1k,4k,16k,64k --patterns 'dense,hash(16)' --heads 2 --rounds 2",
      says: "how time and memory grow",
    },
    {
      line: "scfa bench attention --device webgpu --peer webgpu --lengths 8k --heads 12 --forward-only",
      says: "beside onnxruntime on the same GPU",
    },
    { line: "scfa bench train --lengths 8k --patterns 'dense,hash(16),window(256):2 hash(16):2'", says: "tokens/s" },
    { line: "scfa bench train --preset paper-124m --lengths 8k,64k --tokens 64k", says: "steps of the paper's model" },
  ],
  async run(invocation) {
    const [what] = invocation.args;
    if (what !== "attention" && what !== "train") {
      throw new UsageError(`scfa bench times attention or train, got "${what}".`);
    }
    if (what === "train") checkTrainFlags(invocation.flags);
    await withDevice(invocation.flags, invocation.terminal, (device, name) =>
      what === "attention" ? benchAttention({ name, device }, invocation) : benchTrain(device, invocation),
    );
  },
});
