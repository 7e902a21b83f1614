/**
 * Every error this package throws on purpose. Messages read `op: rule, got actual. Fix.`;
 * the fields carry the same facts for programs.
 */
export class ScfaError extends Error {
  override name = "ScfaError";
}

/** A tensor or option has a size that the operation cannot take. */
export class ShapeError extends ScfaError {
  override name = "ShapeError";
  constructor(
    readonly op: string,
    readonly rule: string,
    readonly actual: string,
    fix = "",
  ) {
    super(sentence(op, rule, actual, fix));
  }
}

/** A tensor has an element type that the operation or device cannot take. */
export class DTypeError extends ScfaError {
  override name = "DTypeError";
  constructor(
    readonly op: string,
    readonly rule: string,
    readonly actual: string,
    fix = "",
  ) {
    super(sentence(op, rule, actual, fix));
  }
}

/** A request is well formed, but this device, build or option set cannot carry it out. */
export class UnsupportedError extends ScfaError {
  override name = "UnsupportedError";
  constructor(
    readonly op: string,
    readonly rule: string,
    readonly actual: string,
    fix = "",
  ) {
    super(sentence(op, rule, actual, fix));
  }
}

/** A kernel did not compile; `log` is the compiler's own words and `source` the numbered source. */
export class KernelCompileError extends ScfaError {
  override name = "KernelCompileError";
  constructor(
    readonly kernel: string,
    readonly log: string,
    readonly source: string,
  ) {
    super(`${kernel}: the kernel must compile, got an error from the compiler.\n${log}`);
  }
}

/** A device failed: out of memory, lost, a driver call that returned an error. */
export class DeviceError extends ScfaError {
  override name = "DeviceError";
  constructor(
    readonly call: string,
    readonly code: string,
    detail: string,
  ) {
    super(`${call}: ${detail} (${code}).`);
  }
}

/** A file does not hold what its format says; `file` and `place` say where. */
export class DataError extends ScfaError {
  override name = "DataError";
  constructor(
    readonly file: string,
    readonly place: string,
    detail: string,
    fix = "",
  ) {
    super(`${file}: ${place}: ${detail}.${fix && ` ${fix}`}`);
  }
}

function sentence(op: string, rule: string, actual: string, fix: string): string {
  return `${op}: ${rule}, got ${actual}.${fix && ` ${fix}`}`;
}
