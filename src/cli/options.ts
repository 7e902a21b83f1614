import type { Device } from "../device/device.ts";
import { type DeviceName, deviceNames, type OpenOptions, openNamedDevice } from "../device/open.ts";
import { type Tier, tiers } from "../device/webgpu/tier.ts";
import { flag } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** Flags of every command that computes. */
export const deviceFlags = {
  device: flag.choice("where to compute; auto takes the fastest that is there", ["auto", ...deviceNames], {
    byDefault: "auto",
  }),
  threads: flag.count("threads of the CPU device", { most: 1024, byDefault: "one for each core" }),
  gpu: flag.count("which GPU of the CUDA device, counted from 0", { least: 0, most: 1023, byDefault: "0" }),
  tier: flag.choice("the most that the WebGPU device may use of its GPU", tiers, { byDefault: "the GPU's highest" }),
  deterministic: flag.toggle("equal bits run to run on the CUDA device, at some cost of speed"),
} as const;

export interface DeviceFlags {
  readonly device?: "auto" | DeviceName;
  readonly threads?: number;
  readonly gpu?: number;
  readonly tier?: Tier;
  readonly deterministic?: boolean;
}

/** What `openDevice` is asked for by the flags. */
export function openOptions({ threads, gpu, tier, deterministic }: DeviceFlags): OpenOptions {
  return {
    ...(threads !== undefined && { threads }),
    ...(gpu !== undefined && { gpu }),
    ...(tier !== undefined && { tier }),
    ...(deterministic !== undefined && { deterministic }),
  };
}

/** Opens the device that the flags name, says which it is, runs the work and gives the device back. */
export async function withDevice<T>(
  flags: DeviceFlags,
  terminal: Terminal,
  work: (device: Device, name: DeviceName) => Promise<T>,
): Promise<T> {
  const options: OpenOptions = {
    log: (line) => terminal.err(`${line}\n`),
    ...openOptions(flags),
  };
  const { name, device } = await openNamedDevice(flags.device ?? "auto", options);
  try {
    return await work(device, name);
  } finally {
    device.dispose();
  }
}
