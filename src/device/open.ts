import { UnsupportedError } from "../errors.ts";
import type { CpuOptions } from "./cpu/index.ts";
import type { CudaOptions } from "./cuda/index.ts";
import type { Device } from "./device.ts";
import type { WebgpuOptions } from "./webgpu/index.ts";

/** Kinds of devices, the fastest first: the order in which "auto" tries them. */
export const deviceNames = ["cuda", "webgpu", "cpu"] as const;
export type DeviceName = (typeof deviceNames)[number];

export interface OpenOptions extends CpuOptions, CudaOptions, Pick<WebgpuOptions, "tier" | "onlyHardware"> {
  /** Gets one line: what was opened, and what was passed over and why. */
  readonly log?: (line: string) => void;
}

const openers: Record<DeviceName, (options: OpenOptions) => Promise<Device>> = {
  cpu: async ({ threads, simd }) => {
    const { openCpuDevice } = await import("./cpu/index.ts");
    return openCpuDevice({ ...(threads !== undefined && { threads }), ...(simd !== undefined && { simd }) });
  },
  cuda: async ({ gpu, deterministic }) => {
    if (typeof process === "undefined" || !process.versions?.node) {
      throw new UnsupportedError("openDevice", "CUDA needs Node", "a page or worker", 'Use "webgpu" or "cpu".');
    }
    const { openCudaDevice } = await import("./cuda/index.ts");
    return openCudaDevice({ ...(gpu !== undefined && { gpu }), ...(deterministic !== undefined && { deterministic }) });
  },
  webgpu: async ({ tier, onlyHardware }) => {
    const { openWebgpuDevice } = await import("./webgpu/index.ts");
    return openWebgpuDevice({ ...(tier !== undefined && { tier }), ...(onlyHardware && { onlyHardware }) });
  },
};

/**
 * Opens a device: one by name, or with "auto" the first of cuda, webgpu and cpu that is there; a GPU in software is opened
 * by name only. Works in Node, pages and workers; a device's code is loaded when it is asked for.
 * @throws UnsupportedError if the device named, or with "auto" any, cannot be opened here
 */
export async function openDevice(name: DeviceName | "auto" = "auto", options: OpenOptions = {}): Promise<Device> {
  return (await openNamedDevice(name, options)).device;
}

/** `openDevice`, and which of them it was: for programs that speak of it. */
export async function openNamedDevice(
  name: DeviceName | "auto",
  options: OpenOptions,
): Promise<{ name: DeviceName; device: Device }> {
  if (name !== "auto" && !deviceNames.includes(name)) {
    const known = ["auto", ...deviceNames].map((n) => `"${n}"`).join(", ");
    throw new UnsupportedError("openDevice", `a device is one of ${known}`, `"${name}"`);
  }
  const passedOver: string[] = [];
  for (const candidate of name === "auto" ? deviceNames : [name]) {
    try {
      const device = await openers[candidate]({ onlyHardware: name === "auto", ...options });
      options.log?.([`device: ${device.description}`, ...passedOver].join("; "));
      return { name: candidate, device };
    } catch (error) {
      if (name !== "auto" || !(error instanceof UnsupportedError) || candidate === "cpu") throw error;
      passedOver.push(`${candidate}: ${error.message}`);
    }
  }
  throw new UnsupportedError("openDevice", "some device must be there", passedOver.join("; "));
}

export interface SurveyedDevice {
  readonly name: DeviceName;
  readonly found: boolean;
  /** A description, or the reason why it is not there. */
  readonly detail: string;
  /** Files that it runs on; see `Device.libraries`. */
  readonly libraries: Readonly<Record<string, string>>;
}

/** What `openDevice` would find for each kind: a description, or the reason why not. Opens and closes each. */
export async function surveyDevices(options: OpenOptions = {}): Promise<SurveyedDevice[]> {
  return Promise.all(
    deviceNames.map(async (name) => {
      try {
        const device = await openers[name](options);
        const { description: detail, libraries } = device;
        device.dispose();
        return { name, found: true, detail, libraries };
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error);
        return { name, found: false, detail, libraries: {} };
      }
    }),
  );
}
