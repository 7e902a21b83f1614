import type { HostStaircase } from "../staircase/staircase.ts";

/** One line of a run's metrics.jsonl, as far as a report needs it. */
export interface RunMetric {
  readonly step: number;
  /** Tokens trained on so far, this step's included. */
  readonly tokens: number;
  /** Mean training loss of the step, in nats a token. */
  readonly loss: number;
  /** Validation loss in nats a token, at steps that measured it. */
  readonly valLoss?: number;
  readonly stepMs?: number;
  readonly tokensPerS?: number;
  /** Time spent on this run so far. */
  readonly elapsedMs?: number;
  /** Visible (query, key) pairs over the pairs of dense causal attention. */
  readonly visibleShare?: number;
}

/** Attention of one head of one layer as plain data: disjoint staircases that together are what the head sees. */
export interface HeadPicture {
  /** For example `layer 1, head 5: hash(16)`. */
  readonly label: string;
  readonly staircases: readonly HostStaircase[];
}

/** What a run folder says about how the run was made; every field may be missing. */
export interface RunDetails {
  readonly command?: string;
  /** ISO date and time of the start. */
  readonly date?: string;
  readonly version?: string;
  readonly commit?: string;
  /** For example `AMD EPYC 9R14, 2 cores, 8 GiB, linux x64, Node 20.20.2`. */
  readonly machine?: string;
  readonly device?: string;
  readonly parameters?: number;
  /** `bytes` makes the report speak of bits per byte instead of perplexity. */
  readonly tokenizer?: string;
  /** For people: `hash(16)`, `window(256):4 hash(16):4`. */
  readonly attention?: string;
  /** For people: what the run was trained on. */
  readonly data?: string;
  readonly sample?: { readonly prompt: string; readonly text: string };
  readonly heads?: readonly HeadPicture[];
}

/** A run as a report sees it: plain data, wherever it came from. */
export interface Run {
  readonly name: string;
  readonly config: Record<string, unknown>;
  /** In order of steps, one for each. */
  readonly metrics: readonly RunMetric[];
  readonly details: RunDetails;
  /** What could not be read, in sentences; shown in the report. */
  readonly notes: readonly string[];
}
