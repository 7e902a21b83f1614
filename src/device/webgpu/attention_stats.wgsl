// attention_stats: what the backward's tiles need of a query, side by side: stats[b,h,i] = (lse, delta).
// Inputs:  lse, delta f32 [B,H,Tq], strided. Output: stats f32 [B,H,Tq,2], strided.
// Numbers: N (B * H * Tq), T (Tq), H.
// Grid:    ceil(N / THREADS) workgroups; a thread owns a row.
// Set by the launcher: THREADS.

@compute @workgroup_size(THREADS)
fn attention_stats(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let n = workgroup_number(id, groups) * THREADS + thread;
  if (n >= args.N) { return; }
  let t = n % args.T;
  let h = n / args.T % args.H;
  let b = n / args.T / args.H;
  let to = row_stats(b, h, t);
  store_stats(to, load_lse(row_lse(b, h) + t));
  store_stats(to + 1u, load_delta(row_delta(b, h) + t));
}
