import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import { type Field, f32, i32, index, perQueryView, pointer, view } from "./kernel_arguments.ts";

/** What an attention kernel is given; what it does not use may be left out. Shapes as in `Ops`. */
export interface AttentionArgs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly o?: Tensor;
  readonly dout?: Tensor;
  readonly dq?: Tensor;
  readonly dk?: Tensor;
  readonly dv?: Tensor;
  readonly lse?: Tensor;
  /** Where it is missing, `o` is there. */
  readonly delta?: Tensor | null;
  readonly staircase: Staircase | null;
  /** Addresses of scratch. */
  readonly dqSum?: number;
  readonly stats?: number;
  readonly counter?: number;
  readonly scale: number;
  readonly merge?: boolean;
  readonly accumulateQ?: boolean;
  readonly accumulateKV?: boolean;
}

/** The fields of `AttentionArgs` of common.cuh, in its order. */
export function attentionFields(args: AttentionArgs): Field[] {
  const { q, k, v, o, dout, dq, dk, dv, lse, delta, staircase: stairs } = args;
  const [B, Tq, H, D] = q.shape as [number, number, number, number];
  const [, Tk, Hk] = k.shape as [number, number, number, number];
  const flag = (on: boolean | undefined) => i32(on ? 1 : 0);
  return [
    ...[q, k, v, o, dout, dq, dk, dv].flatMap(view),
    ...[lse, delta].flatMap(perQueryView),
    ...[stairs?.qRows, stairs?.kRows, stairs?.lo, stairs?.hi, stairs?.qLo, stairs?.qHi].flatMap(index),
    ...[args.dqSum, args.stats, args.counter].map(pointer),
    ...[B, H, Hk, Tq, Tk, D].map(i32),
    ...[f32(args.scale), flag(args.merge), flag(args.accumulateQ), flag(args.accumulateKV)],
  ];
}
