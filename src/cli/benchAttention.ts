import type { AttentionBench, AttentionMeasurement, BenchShape } from "../bench/attention.ts";
import type { BenchInputs } from "../bench/inputs.ts";
import type { Peer, PeerCall } from "../bench/peer.ts";
import type { Device } from "../device/device.ts";
import type { DeviceName } from "../device/open.ts";
import { UnsupportedError } from "../errors.ts";
import type { FloatType } from "../tensor.ts";
import { type BenchInvocation, checkedType, lateProgress, openAnother, output } from "./benchCommon.ts";
import { CommandFailure } from "./command.ts";
import { progressOn } from "./progress.ts";
import { bytes, textTable } from "./terminal.ts";

/** `scfa bench attention` */
export async function benchAttention(
  { name, device }: { name: DeviceName; device: Device },
  invocation: BenchInvocation,
): Promise<void> {
  const { flags, terminal } = invocation;
  const { benchAttention: measure } = await import("../bench/attention.ts");
  const { heads: H = 8, kvHeads: Hk = H, headDimension: D = 64, batch: B = 1, rounds = 5 } = flags;
  const dtype = checkedType(device, flags) ?? device.capabilities.floatTypes[0]!;
  const openPeer = await choosePeer({ name, dtype }, invocation);
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
      openPeer: (inputs) => openPeer(shape, inputs),
      onProgress: (done, of, text) => progress.update(done, of, text),
    }).finally(() => progress.stop());
    await output(invocation, device, attentionRecords(shape, result), () => attentionTable(shape, result));
    failures.push(...failedChecks(T, result));
  }
  if (failures.length > 0)
    throw new CommandFailure(`wrong results, so the times mean nothing: ${failures.join("; ")}.`);
}

type OpenPeer = (shape: BenchShape, inputs: BenchInputs) => Promise<Peer | null>;

/** What opens the peer that the flags name; if they do not, that of the device, if it is installed. */
async function choosePeer(
  { name, dtype }: { name: DeviceName; dtype: FloatType },
  { flags, terminal }: BenchInvocation,
): Promise<OpenPeer> {
  const none: OpenPeer = async () => null;
  const provider = flags.peer ?? (name === "cuda" ? "none" : name);
  if (provider === "none") return none;
  const { findPeer, openCpuPeer, peerInstall } = await import("../bench/peer.ts");
  const found = findPeer();
  if (!found) {
    if (!flags.peer) {
      terminal.err(`No peer beside: onnxruntime-node is not installed here (${peerInstall}).\n`);
      return none;
    }
    const fix = `Install it (${peerInstall}) or leave it out with --peer none.`;
    throw new UnsupportedError("bench", "--peer needs onnxruntime-node", "none from the working folder", fix);
  }
  if (provider === "cpu" && dtype !== "f32") {
    throw new UnsupportedError("bench", "the peer on the CPU computes in f32", dtype, "Use --dtype f32.");
  }
  return async (shape, inputs) => {
    const [q, k, v] = [inputs.all("q"), inputs.all("k"), inputs.all("v")];
    const call: PeerCall = { shape, inputs: { q, k, v } };
    if (provider === "webgpu") return (await import("../bench/gpuPeer.ts")).openGpuPeer(found, call, dtype);
    return openCpuPeer(found, call, flags.threads ?? (await import("./machine.ts")).describeMachine().cores);
  };
}

function attentionTable(shape: BenchShape, { measurements, peer }: AttentionBench): string {
  const dense = measurements.find(({ pattern }) => pattern === "dense");
  const ratio = (than: number | undefined, ms: number | undefined) =>
    than === undefined || ms === undefined ? "-" : `${(than / ms).toFixed(2)}x`;
  const rows = measurements.map((one) => {
    const { pattern, building, forward, backward, besidePeer, check } = one;
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
      ratio(dense && sumOf(dense), sumMs),
      ratio(peer?.forward.medianMs, besidePeer?.medianMs),
      bytes(one.extraBytes),
      check.forward.pass && check.backward?.pass !== false ? "yes" : "NO",
    ];
  });
  if (peer) {
    const { forward, check } = peer;
    const against = ratio(dense?.besidePeer?.medianMs, forward.medianMs);
    const ms = milliseconds(forward.medianMs);
    rows.push([peer.name, ms, "-", "-", "-", "100.00 %", "-", against, "-", "1.00x", "-", check.pass ? "yes" : "NO"]);
  }
  const { B, T, H, Hk, D } = shape;
  const sharing = measurements[0]?.sharedQK ? ", shared buckets" : "";
  const head = ["pattern", "forward ms", "of it building", "backward ms", "sum ms", "visible", "forward rate"];
  head.push("fwd vs dense", "sum vs dense", "fwd vs peer", "extra memory", "correct");
  const title = `B ${B}, T ${T}, H ${H}${Hk === H ? "" : `, Hk ${Hk}`}, D ${D}, ${measurements[0]?.dtype}${sharing}`;
  const ofPeer = peer ? `${peer.name}: ${peer.timed}\n` : "";
  return `\n${title}\n${textTable(head, rows)}${ofPeer}`;
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
  const ours = ({ building, forward, backward, besidePeer, check, ...rest }: AttentionMeasurement) => ({
    ...common,
    ...rest,
    buildingMs: building.medianMs,
    buildingAllMs: building.allMs,
    forwardMs: forward.medianMs,
    forwardAllMs: forward.allMs,
    ...(backward && { backwardMs: backward.medianMs, backwardAllMs: backward.allMs }),
    ...(besidePeer && { besidePeerMs: besidePeer.medianMs, besidePeerAllMs: besidePeer.allMs }),
    peer: peer && {
      name: peer.name,
      timed: peer.timed,
      forwardMs: peer.forward.medianMs,
      forwardAllMs: peer.forward.allMs,
      check: peer.check,
    },
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
