import type { Device } from "../device/device.ts";
import type { FloatType } from "../tensor.ts";

/** What one conformance case found on a device. */
export interface Verdict {
  readonly pass: boolean;
  /** The largest error met, in the unit of the values compared. */
  readonly worstError: number;
  /** The largest error allowed at that place. */
  readonly budget: number;
  /** Which output and index the worst error was met at, for example `dq[0,17,2,5]`. */
  readonly where: string;
}

/** A claim about one op that every device must make true; run by the tests and by `scfa selftest`. */
export interface ConformanceCase {
  /** The claim, unique in its list. */
  readonly name: string;
  /** The op or group of ops it is about, for example `linear`. */
  readonly room: string;
  /** Flags of `scfa selftest` that run it again; by default, its name is asked for. */
  readonly repeat?: readonly string[];
  /** A type that it makes tensors of, whatever it computes in. */
  readonly needsTensors?: FloatType;
  /**
   * Makes its own inputs on the device, runs, compares, and disposes what it made.
   * @param dtype the type to compute in, one of the device's; default its first
   */
  run(device: Device, dtype?: FloatType): Promise<Verdict>;
}

/** Why a case cannot be run on a device; null where it can. */
export function missingFor({ needsTensors }: ConformanceCase, { capabilities }: Device): string | null {
  if (needsTensors === undefined || capabilities.tensorTypes.includes(needsTensors)) return null;
  return `no tensors of ${needsTensors} on this device`;
}
