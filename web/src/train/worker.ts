import { openDevice } from "scfa";
import { type CallContext, serve, Transfer } from "../workers/calls.ts";
import { Lane, type LaneState, type StepTaken } from "./lane.ts";
import type { LaneName, TrainSettings } from "./settings.ts";

let lane: Lane | undefined;

/** One lane of a race; each worker has one. */
export const handlers = {
  async open(begin: {
    name: LaneName;
    settings: TrainSettings;
    text: Uint8Array;
    state: LaneState | null;
  }): Promise<{ description: string; parameters: number }> {
    const device = await openDevice(begin.settings.device);
    lane = new Lane(device, begin);
    if (begin.settings.device === "webgpu") await lane.warmUp();
    return { description: device.description, parameters: lane.parameterCount };
  },

  step: (): Promise<StepTaken> => lane!.step(),

  visibleShare: (): Promise<number> => lane!.visibleShare(),

  async state(): Promise<Transfer<LaneState>> {
    const state = await lane!.state();
    return new Transfer(
      state,
      [state.values, state.m, state.v].map(({ buffer }) => buffer),
    );
  },

  async write({ prompt, count }: { prompt: Uint8Array; count: number }, { tell }: CallContext<string>): Promise<void> {
    for await (const text of lane!.write(prompt, count)) tell(text);
  },

  async weights(): Promise<Transfer<Uint8Array<ArrayBuffer>>> {
    const bytes = await lane!.weights();
    return new Transfer(bytes, [bytes.buffer]);
  },
};

serve(handlers);
