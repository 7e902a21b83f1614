import { afterAll, describe, expect, it, vi } from "vitest";
import { create } from "webgpu";
import { attentionConformance } from "../../conformance/attention.ts";
import { type ConformanceCase, missingFor } from "../../conformance/case.ts";
import { opCases } from "../../conformance/ops.ts";
import type { FloatType } from "../../tensor.ts";
import { deviceDescriptor, openWebgpuDevice, WebgpuDevice } from "./index.ts";
import { lacks, type Tier, tierFeatures } from "./tier.ts";

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

describe("what a tier needs", () => {
  const product = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const gpuWith = (products: unknown[], least: number, most: number, features = tierFeatures.matrices) => ({
    features: new Set(features) as GPUSupportedFeatures,
    info: {
      subgroupMatrixConfigs: products,
      subgroupMinSize: least,
      subgroupMaxSize: most,
    } as unknown as GPUAdapterInfo,
  });

  it("is features, and of matrices the product and the subgroups that its kernels are written for", () => {
    const others = [
      { ...product, resultComponentType: "f16" },
      { ...product, M: 8, N: 8, K: 8 },
    ];
    expect(lacks("matrices", gpuWith([...others, product], 32, 32))).toEqual([]);
    expect(lacks("matrices", gpuWith(others, 32, 32))).toEqual(["products of 16x16x16 f16 that give f32"]);
    expect(lacks("matrices", gpuWith([product], 8, 32))).toEqual(["subgroups of 32 lanes alone (here 8 to 32)"]);
    expect(lacks("matrices", gpuWith([product], 64, 64))).toHaveLength(1);
    expect(lacks("matrices", gpuWith([], 32, 32))).toEqual([]);
    expect(lacks("subgroups", gpuWith([], 4, 128))).toEqual([]);
    expect(lacks("matrices", gpuWith([product], 32, 32, tierFeatures.subgroups))).toEqual([
      "chromium-experimental-subgroup-matrix",
    ]);
  });

  it("decides what a device is opened with", async () => {
    // The null backend has every feature, subgroups of 4 to 128 lanes, and names no product.
    const adapter = (await gpu.requestAdapter())!;
    expect(deviceDescriptor(adapter).requiredFeatures).toEqual([...tierFeatures.subgroups, "timestamp-query"]);
    expect(() => deviceDescriptor(adapter, { tier: "matrices" })).toThrow(
      /"matrices".*no subgroups of 32 lanes alone \(here 4 to 128\)/,
    );
    const device = await adapter.requestDevice({ requiredFeatures: tierFeatures.matrices as GPUFeatureName[] });
    const shared = await openWebgpuDevice({ device });
    expect(shared.description).toMatch(/f16, subgroups\)$/);
    shared.dispose();
  });
});

// Dawn's threads end with what `create` returned.
afterAll(() => void gpu);
