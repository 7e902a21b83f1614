// attentionDelta: delta[b,h,i] = sum over D of dout * o.
// Inputs:  o, dout [B,Tq,H,D] strided. Output: delta [B,H,Tq] strided.
// Numbers: N (B * Tq * H), T (Tq), H, D.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn attention_delta(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let o_row = row_o(b, t, h);
  let dout_row = row_dout(b, t, h);
  var sum = 0.0;
  for (var d = lane; d < args.D; d += THREADS) { sum += load_o(o_row + d) * load_dout(dout_row + d); }
  let total = sum_of_group(sum, lane);
  if (lane == 0u) { store_delta(row_delta(b, h) + t, total); }
}
