import { PlainError } from "../ui/messages.ts";

/** What a measurement was asked for. */
export interface Settings {
  /** Heads, and the head dimension. */
  readonly H: number;
  readonly D: number;
  /** Longest T. */
  readonly longest: number;
  /** The sparse pattern beside dense: "hash(16)", "window(256)". */
  readonly sparse: string;
  /** No forward and backward is begun that is expected to take longer. */
  readonly limitMs: number;
}

/** Times of one pattern at one T; medians of a few rounds. */
export interface Point {
  readonly T: number;
  readonly pattern: string;
  /** What was computed in: f32 or f16. */
  readonly dtype: string;
  /** Hashing and building the staircase included. */
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly visibleShare: number;
  /** Of some rows of the output from float64, relative to its largest value. */
  readonly worstDifference: number;
}

export interface DeviceResult {
  readonly device: DeviceKind;
  /** As the package describes what it opened. */
  readonly description: string;
  readonly points: readonly Point[];
}

export type DeviceKind = "webgpu" | "cpu";
export const deviceLabels: Readonly<Record<DeviceKind, string>> = { webgpu: "WebGPU", cpu: "WASM" };

/** A measurement as it is copied and linked to. */
export interface MeasurementResult {
  readonly kind: "scfa-measurement";
  readonly version: 1;
  /** ISO 8601 */
  readonly when: string;
  readonly browser: string;
  readonly settings: Settings;
  readonly devices: readonly DeviceResult[];
}

/** A result for the address of a page: JSON in URL-safe base64. */
export function encodeResult(result: MeasurementResult): string {
  const bytes = new TextEncoder().encode(JSON.stringify(result));
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @throws PlainError if the text is no result */
export function decodeResult(text: string): MeasurementResult {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const result: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (isResult(result)) return result;
  } catch {
    // Said below, in words.
  }
  throw new PlainError(
    "The link holds no measurement.",
    "It may have been cut off: copy the whole of it, or measure here.",
  );
}

/** Links come from anywhere: everything that is shown is looked at first. */
function isResult(value: unknown): value is MeasurementResult {
  if (!isRecord(value) || value["kind"] !== "scfa-measurement" || value["version"] !== 1) return false;
  const { when, browser, settings, devices } = value;
  return (
    isText(when) &&
    isText(browser) &&
    isRecord(settings) &&
    isText(settings["sparse"]) &&
    ["H", "D", "longest", "limitMs"].every((key) => isNumber(settings[key])) &&
    Array.isArray(devices) &&
    devices.every(isDevice)
  );
}

function isDevice(value: unknown): boolean {
  if (!isRecord(value) || !isText(value["description"]) || !Array.isArray(value["points"])) return false;
  const isPoint = (point: unknown) =>
    isRecord(point) &&
    isText(point["pattern"]) &&
    isText(point["dtype"]) &&
    ["T", "forwardMs", "backwardMs", "visibleShare", "worstDifference"].every((key) => isNumber(point[key]));
  return (
    typeof value["device"] === "string" &&
    Object.hasOwn(deviceLabels, value["device"]) &&
    value["points"].every(isPoint)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length < 1000;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && value >= 0;
}
