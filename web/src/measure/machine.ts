import type { Tier } from "scfa/webgpu";
import { h } from "../ui/dom.ts";
import { thousands } from "../ui/format.ts";
import { cores, hasThreads } from "../ui/machine.ts";

/** What the GPU has of what the package's kernels can use. */
export interface GpuFacts {
  readonly name: string;
  readonly isSoftware: boolean;
  readonly tiers: readonly { readonly tier: Tier; readonly lacks: readonly string[] }[];
  readonly limits: Readonly<Record<string, number>>;
}

export const tierLabels = {
  f32: "f32 arithmetic",
  subgroups: "f16 tensors, subgroups",
  matrices: "subgroup matrices",
} as const;

/** Tiers and limits, as terms and descriptions. */
export function factsOf(gpu: GpuFacts | null): HTMLElement[] {
  const rows: [string, string][] = [];
  if (gpu) {
    rows.push(["GPU", gpu.name]);
    for (const { tier, lacks } of gpu.tiers) {
      rows.push([
        `Tier ${tier}`,
        lacks.length === 0 ? `yes: ${tierLabels[tier]}` : `no: the GPU or the browser lacks ${lacks.join(", ")}`,
      ]);
    }
    for (const [name, value] of Object.entries(gpu.limits)) rows.push([limitLabels[name] ?? name, limit(name, value)]);
  } else rows.push(["GPU", "this browser offers no WebGPU; WASM is measured"]);
  rows.push(["WASM", hasThreads ? `${cores} threads` : "one thread: the page is not cross-origin isolated"]);
  return rows.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
}

const limitLabels: Readonly<Record<string, string>> = {
  maxBufferSize: "Largest buffer",
  maxStorageBufferBindingSize: "Largest binding",
  maxStorageBuffersPerShaderStage: "Buffers of a kernel",
  maxComputeWorkgroupStorageSize: "Workgroup memory",
  maxComputeInvocationsPerWorkgroup: "Threads of a workgroup",
};

function limit(name: string, value: number): string {
  if (/Size$/.test(name) && value >= 1024) {
    return value >= 2 ** 20
      ? `${(value / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 0 })} MiB`
      : `${value / 1024} KiB`;
  }
  return thousands(value);
}
