// normalizeRows: out = x / max(|x|, epsilon) over rows of D elements.
// Input:   x [B,T,H,D] strided. Output: out likewise, which may lie in the same memory.
// Numbers: N (B * T * H), T, H, D, epsilon.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn normalize_rows(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let from_row = row_x(b, t, h);
  let to_row = row_out(b, t, h);
  var squares = 0.0;
  for (var d = lane; d < args.D; d += THREADS) {
    let value = load_x(from_row + d);
    squares += value * value;
  }
  let divisor = max(sqrt(sum_of_group(squares, lane)), args.epsilon);
  for (var d = lane; d < args.D; d += THREADS) { store_out(to_row + d, load_x(from_row + d) / divisor); }
}
