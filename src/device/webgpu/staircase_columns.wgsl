// staircase_columns: qLo, qHi i32 [B,H,Tk] of every key place: the same staircase read by columns.
// Inputs:  lo, hi i32 [B,H,Tq]. Outputs: q_lo, q_hi i32 [B,H,Tk].
// Numbers: count (B * H * Tk), Tq, Tk.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a place.
// Set by the launcher: THREADS.
// Method:  bisection: the first query with hi > m, and the first with lo > m.
@compute @workgroup_size(THREADS)
fn staircase_columns(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let queries = i / args.Tk * args.Tq;
  let m = i32(i % args.Tk);
  var begin = 0u;
  var end = args.Tq;
  while (begin < end) {
    let middle = (begin + end) / 2u;
    if (load_hi(queries + middle) <= m) { begin = middle + 1u; } else { end = middle; }
  }
  store_q_lo(i, i32(begin));
  end = args.Tq;
  while (begin < end) {
    let middle = (begin + end) / 2u;
    if (load_lo(queries + middle) <= m) { begin = middle + 1u; } else { end = middle; }
  }
  store_q_hi(i, i32(begin));
}
