import { type Device, openDevice } from "scfa";
import { serve } from "../workers/calls.ts";
import type { PatternChoice } from "./catalogue.ts";
import { type PatternPlan, planChoice } from "./patterns.ts";

let device: Promise<Device> | undefined;

export const handlers = {
  async plan(choice: PatternChoice): Promise<PatternPlan> {
    device ??= openDevice("cpu", { threads: 1 });
    return planChoice(await device, choice);
  },
};

serve(handlers);
