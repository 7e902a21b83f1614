import { openDevice } from "scfa";
import { type Tier, tierFeatures, tiers } from "scfa/webgpu";
import { adapterName, findAdapter, isSoftware } from "../ui/machine.ts";
import { type CallContext, serve } from "../workers/calls.ts";
import type { GpuFacts } from "./machine.ts";
import { measureGrowing } from "./measure.ts";
import type { DeviceKind, Point, Settings } from "./result.ts";

export type MeasureEvent =
  | { readonly type: "opened"; readonly description: string }
  | { readonly type: "progress"; readonly what: string }
  | { readonly type: "point"; readonly point: Point };

const shownLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

export const handlers = {
  /** null where there is no WebGPU. */
  async gpu(): Promise<GpuFacts | null> {
    const adapter = await findAdapter();
    if (!adapter) return null;
    return {
      name: adapterName(adapter),
      isSoftware: isSoftware(adapter),
      tiers: tiers.map((tier) => ({
        tier,
        lacks: tierFeatures[tier].filter((name) => !adapter.features.has(name)),
      })),
      limits: Object.fromEntries(shownLimits.map((name) => [name, adapter.limits[name]])),
    };
  },

  async measure(
    { kind, tier, settings }: { kind: DeviceKind; tier: Tier | null; settings: Settings },
    { tell }: CallContext<MeasureEvent>,
  ): Promise<void> {
    const device = await openDevice(kind, kind === "webgpu" && tier ? { tier } : {});
    try {
      tell({ type: "opened", description: device.description });
      await measureGrowing(device, settings, {
        onPoint: (point) => tell({ type: "point", point }),
        onProgress: (what) => tell({ type: "progress", what }),
      });
    } finally {
      device.dispose();
    }
  },
};

serve(handlers);
