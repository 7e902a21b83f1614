// normalizeRows: out = x / max(|x|, epsilon) over rows of D elements.
// Input:   x [B,T,H,D] strided, in packs. Output: out likewise, which may lie in the same memory.
// Numbers: N (B * T * H), T, H, packs (of a row), epsilon.
// Grid:    ceil(N * LANES / THREADS) workgroups; LANES threads own a row, each every LANES-th pack.
// Set by the launcher: THREADS, LANES. Uses: pack_1 or pack_4, reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn normalize_rows(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup_number(id, groups) * (THREADS / LANES) + thread / LANES;
  let n = min(row, args.N - 1u);  // the sums need all threads
  let lane = thread % LANES;
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let from_row = row_x(b, t, h);
  let to_row = row_out(b, t, h);
  var squares = 0.0;
  for (var d = lane; d < args.packs; d += LANES) {
    let value = load_x(from_row + d);
    squares += sum_of_pack(value * value);
  }
  let divisor = max(sqrt(sum_of_team(squares, thread)), args.epsilon);
  if (row >= args.N) { return; }
  for (var d = lane; d < args.packs; d += LANES) { store_out(to_row + d, load_x(from_row + d) / divisor); }
}
