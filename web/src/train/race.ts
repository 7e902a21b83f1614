import { connect, type Remote } from "../workers/calls.ts";
import { type LaneName, laneNames, type TrainSettings } from "./settings.ts";
import type { RaceState, StoredRace } from "./storage.ts";
import type { TrainingText } from "./text.ts";
import type { handlers } from "./worker.ts";

/** What a lane did, step by step. */
export interface LaneHistory {
  /** Nats a byte. */
  readonly losses: number[];
  readonly stepMs: number[];
}

/** A lane as the page shows it. */
export interface LaneView {
  readonly history: LaneHistory;
  /** Milliseconds spent in steps. */
  readonly elapsedMs: number;
  /** Of the last step's pairs; null until it was asked for. */
  readonly visibleShare: number | null;
  readonly parameters: number;
  readonly device: string;
}

type Lane = { remote: Remote<typeof handlers>; elapsedMs: number } & {
  -readonly [K in keyof Omit<LaneView, "elapsedMs">]: LaneView[K];
};

/**
 * A dense and a sparse model that learn from one text, each in a worker. They take their steps in turns, so that each has
 * the whole machine to itself, and the next step is that of the lane that has spent less time: at any moment both have
 * had the same time, and the losses can be held against each other.
 */
export class Race {
  readonly #lanes: Readonly<Record<LaneName, Lane>>;
  #running: Promise<void> | null = null;
  #isPaused = true;

  private constructor(
    readonly settings: TrainSettings,
    lanes: Record<LaneName, Lane>,
  ) {
    this.#lanes = lanes;
  }

  /** Begins a race, or goes on with a stored one. */
  static async open(settings: TrainSettings, text: TrainingText, stored: StoredRace | null = null): Promise<Race> {
    const open = async (name: LaneName): Promise<Lane> => {
      const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: `train ${name}` });
      const remote = connect<typeof handlers>(worker);
      remotes.push(remote);
      const state = stored?.lanes[name].state ?? null;
      const { description, parameters } = await remote.call("open", { name, settings, text: text.bytes, state });
      const history = stored?.lanes[name].history ?? { losses: [], stepMs: [] };
      const elapsedMs = history.stepMs.reduce((sum, ms) => sum + ms, 0);
      return { remote, history, elapsedMs, visibleShare: null, parameters, device: description };
    };
    const remotes: Remote<typeof handlers>[] = [];
    try {
      const [dense, sparse] = await Promise.all(laneNames.map(open));
      return new Race(settings, { dense: dense!, sparse: sparse! });
    } catch (error) {
      for (const remote of remotes) remote.close();
      throw error;
    }
  }

  lane(name: LaneName): LaneView {
    return this.#lanes[name];
  }

  get isRunning(): boolean {
    return !this.#isPaused;
  }

  /**
   * Takes steps until `pause`, or until a step fails.
   * @param onStep called after each step, and waited for
   */
  async run(onStep: () => void | Promise<void>): Promise<void> {
    this.#isPaused = false;
    this.#running = this.#takeSteps(onStep);
    try {
      await this.#running;
    } finally {
      this.#isPaused = true;
      this.#running = null;
    }
  }

  /** Resolves when the step in progress is done. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#running?.catch(() => {});
  }

  async #takeSteps(onStep: () => void | Promise<void>): Promise<void> {
    while (!this.#isPaused) {
      const { dense, sparse } = this.#lanes;
      const lane = dense.elapsedMs <= sparse.elapsedMs ? dense : sparse;
      const { loss, stepMs } = await lane.remote.call("step", undefined);
      lane.history.losses.push(loss);
      lane.history.stepMs.push(stepMs);
      lane.elapsedMs += stepMs;
      await onStep();
    }
  }

  /** What the browser is to keep; no step may be in progress. */
  async snapshot(): Promise<RaceState> {
    const { settings } = this;
    const lanes = { dense: await this.#kept("dense"), sparse: await this.#kept("sparse") };
    return { version: 1, savedAt: Date.now(), settings, lanes };
  }

  async #kept(name: LaneName): Promise<RaceState["lanes"][LaneName]> {
    const lane = this.#lanes[name];
    if (lane.history.losses.length > 0) lane.visibleShare = await lane.remote.call("visibleShare", undefined);
    return { state: await lane.remote.call("state", undefined), history: lane.history };
  }

  /** Lets a lane write; no step may be in progress. */
  async write(name: LaneName, prompt: string, onText: (text: string) => void): Promise<void> {
    const bytes = new TextEncoder().encode(prompt || "\n");
    await this.#lanes[name].remote.call("write", { prompt: bytes, count: 240 }, { onEvent: onText });
  }

  weights(name: LaneName): Promise<Uint8Array<ArrayBuffer>> {
    return this.#lanes[name].remote.call("weights", undefined);
  }

  close(): void {
    this.#isPaused = true;
    for (const name of laneNames) this.#lanes[name].remote.close();
  }
}
