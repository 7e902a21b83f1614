import type { AttentionBench, AttentionMeasurement, BenchShape } from "../bench/attention.ts";
import type { Device } from "../device/device.ts";
import { type BenchInvocation, checkedType, lateProgress, openAnother, output } from "./benchCommon.ts";
import { CommandFailure } from "./command.ts";
import { progressOn } from "./progress.ts";
import { bytes, textTable } from "./terminal.ts";

/** `scfa bench attention` */
export async function benchAttention(device: Device, invocation: BenchInvocation): Promise<void> {
  const { flags, terminal } = invocation;
  const [{ benchAttention: measure }, { findPeer, openPeer, peerInstall }] = await Promise.all([
    import("../bench/attention.ts"),
    import("../bench/peer.ts"),
  ]);
  const { heads: H = 8, kvHeads: Hk = H, headDimension: D = 64, batch: B = 1, rounds = 5 } = flags;
  const dtype = checkedType(device, flags) ?? device.capabilities.floatTypes[0]!;
  // The peer computes in float32 on the CPU: nothing to hold beside another type.
  const wantsPeer = !flags.noPeer && dtype === "f32";
  const found = wantsPeer ? await findPeer() : null;
  if (!found && wantsPeer) terminal.err(`No peer beside: onnxruntime-node is not installed here (${peerInstall}).\n`);
  const threads = flags.threads ?? (await import("./machine.ts")).describeMachine().cores;
  const failures: string[] = [];
  for (const T of flags.lengths ?? [2048, 8192]) {
    const shape: BenchShape = { B, T, H, Hk, D };
    const progress = lateProgress(await progressOn(terminal));
    const result = await measure({
      shape,
      dtype,
      patterns: flags.patterns ?? ["dense", "hash(16)", "drop(0.7)"],
      sharedQK: flags.sharedQk,
      rounds,
      backward: !flags.forwardOnly,
      device,
      openDevice: () => openAnother(flags),
      openPeer: async (inputs) => {
        if (!found) return null;
        const [q, k, v] = (["q", "k", "v"] as const).map((name) => inputs.all(name));
        return openPeer(found, { shape, inputs: { q: q!, k: k!, v: v! }, threads });
      },
      onProgress: (done, of, text) => progress.update(done, of, text),
    }).finally(() => progress.stop());
    await output(invocation, device, attentionRecords(shape, result), () => attentionTable(shape, result));
    failures.push(...failedChecks(T, result));
  }
  if (failures.length > 0)
    throw new CommandFailure(`wrong results, so the times mean nothing: ${failures.join("; ")}.`);
}

function attentionTable(shape: BenchShape, { measurements, peer }: AttentionBench): string {
  const dense = measurements.find(({ pattern }) => pattern === "dense");
  const ratio = (than: number | undefined, ms: number) => (than === undefined ? "-" : `${(than / ms).toFixed(2)}x`);
  const rows = measurements.map((one) => {
    const { pattern, building, forward, backward, check } = one;
    const sumMs = sumOf(one);
    return [
      pattern,
      milliseconds(forward.medianMs),
      milliseconds(building.medianMs),
      milliseconds(backward?.medianMs),
      milliseconds(sumMs),
      `${(100 * one.visibleShare).toFixed(2)} %`,
      rate(one.forwardGflops),
      ratio(dense?.forward.medianMs, forward.medianMs),
      sumMs === undefined ? "-" : ratio(dense && sumOf(dense), sumMs),
      ratio(peer?.forward.medianMs, forward.medianMs),
      bytes(one.extraBytes),
      check.forward.pass && check.backward?.pass !== false ? "yes" : "NO",
    ];
  });
  if (peer) {
    const { forward, check } = peer;
    const against = ratio(dense?.forward.medianMs, forward.medianMs);
    const ms = milliseconds(forward.medianMs);
    rows.push([peer.name, ms, "-", "-", "-", "100.00 %", "-", against, "-", "1.00x", "-", check.pass ? "yes" : "NO"]);
  }
  const { B, T, H, Hk, D } = shape;
  const sharing = measurements[0]?.sharedQK ? ", shared buckets" : "";
  const head = ["pattern", "forward ms", "of it building", "backward ms", "sum ms", "visible", "forward rate"];
  head.push("fwd vs dense", "sum vs dense", "fwd vs peer", "extra memory", "correct");
  const title = `B ${B}, T ${T}, H ${H}${Hk === H ? "" : `, Hk ${Hk}`}, D ${D}, ${measurements[0]?.dtype}${sharing}`;
  return `\n${title}\n${textTable(head, rows)}`;
}

/** Forward and backward together. */
function sumOf({ forward, backward }: AttentionMeasurement): number | undefined {
  return backward ? forward.medianMs + backward.medianMs : undefined;
}

function milliseconds(ms: number | undefined): string {
  return ms === undefined ? "-" : ms.toFixed(ms < 10 ? 2 : 1);
}

function rate(gflops: number): string {
  return gflops >= 1000 ? `${(gflops / 1000).toFixed(1)} TFLOP/s` : `${gflops.toFixed(1)} GFLOP/s`;
}

function attentionRecords(shape: BenchShape, { measurements, peer }: AttentionBench): object[] {
  const common = { bench: "attention", ...shape };
  const ours = ({ building, forward, backward, check, ...rest }: AttentionMeasurement) => ({
    ...common,
    ...rest,
    buildingMs: building.medianMs,
    buildingAllMs: building.allMs,
    forwardMs: forward.medianMs,
    forwardAllMs: forward.allMs,
    ...(backward && { backwardMs: backward.medianMs, backwardAllMs: backward.allMs }),
    peer: peer && { name: peer.name, forwardMs: peer.forward.medianMs, forwardAllMs: peer.forward.allMs },
    check,
  });
  return measurements.map(ours);
}

function failedChecks(T: number, { measurements, peer }: AttentionBench): string[] {
  const checks = measurements.flatMap(({ pattern, check }) =>
    Object.entries(check).map(([pass, verdict]) => ({ what: `${pattern} ${pass}`, verdict })),
  );
  if (peer) checks.push({ what: peer.name, verdict: peer.check });
  return checks
    .filter(({ verdict }) => !verdict.pass)
    .map(({ what, verdict }) => {
      const { where, worstError, budget } = verdict;
      return `T ${T} ${what} at ${where} by ${worstError.toPrecision(3)} (allowed ${budget.toPrecision(3)})`;
    });
}
