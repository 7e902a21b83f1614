import type { OpenOptions } from "../device/open.ts";
import { flag } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** Flags of every command that computes. */
export const deviceFlags = {
  device: flag.choice("where to compute; auto takes the fastest that is there", ["auto", "cuda", "webgpu", "cpu"], {
    byDefault: "auto",
  }),
  threads: flag.count("threads of the CPU device", { most: 1024, byDefault: "one for each core" }),
} as const;

/** Opens the device that the flags name, says which it is, runs the work and gives the device back. */
export async function withDevice<T>(
  flags: { readonly device?: "auto" | "cuda" | "webgpu" | "cpu"; readonly threads?: number },
  terminal: Terminal,
  work: (device: import("../device/device.ts").Device) => Promise<T>,
): Promise<T> {
  const { openDevice } = await import("../device/open.ts");
  const options: OpenOptions = {
    log: (line) => terminal.err(`${line}\n`),
    ...(flags.threads !== undefined && { threads: flags.threads }),
  };
  const device = await openDevice(flags.device ?? "auto", options);
  try {
    return await work(device);
  } finally {
    device.dispose();
  }
}
