import { afterAll, describe, expect, it, vi } from "vitest";
import { create } from "webgpu";
import { attentionConformance } from "../../conformance/attention.ts";
import { type ConformanceCase, missingFor } from "../../conformance/case.ts";
import { opCases } from "../../conformance/ops.ts";
import type { FloatType } from "../../tensor.ts";
import { WebgpuDevice } from "./index.ts";
import { type Tier, tierFeatures } from "./tier.ts";

/** Nothing is compared here, and the float64 reference takes most of a case's time: a case ends where it asks for it. */
class NoReference extends Error {}
vi.mock("../../reference/device.ts", () => ({
  openReferenceDevice: () => ({
    capabilities: { floatTypes: ["f32"] },
    tensor() {
      throw new NoReference();
    },
  }),
}));

/**
 * Dawn's null backend compiles WGSL with every feature, has the limits that WebGPU guarantees, and runs nothing: so the
 * kernels of tiers that no GPU in software has are at least read by the compiler here, and made into pipelines within
 * those limits. What they compute is checked on a GPU, by `scfa selftest`.
 */
const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]) as unknown as GPU;

async function openNull(tier: Tier, disguise = (device: GPUDevice) => device): Promise<WebgpuDevice> {
  const adapter = (await gpu.requestAdapter())!;
  const device = await adapter.requestDevice({ requiredFeatures: tierFeatures[tier] as GPUFeatureName[] });
  return new WebgpuDevice({ info: adapter.info, tier, device: disguise(device) });
}

/** Runs cases for what they launch: their verdicts mean nothing here. */
async function launchAll(device: WebgpuDevice, dtype: FloatType, cases: readonly ConformanceCase[]): Promise<void> {
  for (const each of cases.filter((each) => !missingFor(each, device))) {
    await each.run(device, dtype).catch((error: unknown) => {
      if (!(error instanceof NoReference)) throw error;
    });
  }
  await device.synchronize();
}

const halves = [
  ["subgroups", "f16"],
  ["matrices", "f16"],
] as const;

// Attention of f32 is the same in every tier.
describe.each([
  ["ops", opCases, [...halves, ["matrices", "f32"] as const], 20],
  ["attention", attentionConformance(), halves, 12],
] as const)("%s", (_, cases, tiers, fewestKernels) => {
  it.each(tiers)("tier %s: makes every pipeline for %s within WebGPU's guaranteed limits", async (tier, dtype) => {
    const device = await openNull(tier);
    await launchAll(device, dtype, cases);
    device.dispose();
  });

  it("compiles what it chooses where a GPU has more memory for a workgroup", async () => {
    const kernels = new Set<string>();
    const device = await openNull("matrices", (real) => withLargeWorkgroups(real, kernels));
    await launchAll(device, "f16", cases);
    device.dispose();
    expect(kernels.size).toBeGreaterThan(fewestKernels);
  });
});

/**
 * A device that claims the limits of a large GPU. Modules are compiled as they are; their pipelines, which need more than
 * the device beneath has, are replaced by one that does nothing.
 */
function withLargeWorkgroups(real: GPUDevice, kernels: Set<string>): GPUDevice {
  const { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize } = real.limits;
  const limits = {
    ...{ maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize },
    ...{
      maxComputeWorkgroupStorageSize: 49_152,
      maxComputeInvocationsPerWorkgroup: 1024,
      maxComputeWorkgroupSizeX: 1024,
    },
  };
  const idle = real.createShaderModule({ code: "@compute @workgroup_size(1) fn idle() {}" });
  const replaced = {
    limits,
    createComputePipeline({ label = "", layout }: GPUComputePipelineDescriptor) {
      kernels.add(label);
      return real.createComputePipeline({ layout, compute: { module: idle, entryPoint: "idle" } });
    },
  };
  return new Proxy(real, {
    get(device, name) {
      if (name in replaced) return replaced[name as keyof typeof replaced];
      const value: unknown = Reflect.get(device, name, device);
      return typeof value === "function" ? value.bind(device) : value;
    },
  });
}

// Dawn's threads end with what `create` returned.
afterAll(() => void gpu);
