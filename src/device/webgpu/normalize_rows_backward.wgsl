// normalizeRowsBackward: dx += (dout - xHat * (xHat . dout)) / |x| with xHat = x / |x|; where |x| is at most epsilon, the
// divisor is constant, and dx += dout / epsilon.
// Inputs:  x, dout [B,T,H,D] strided, in packs. Output: dx likewise, added into; may lie in the memory of the others.
// Numbers: N (B * T * H), T, H, packs (of a row), epsilon.
// Grid:    ceil(N * LANES / THREADS) workgroups; LANES threads own a row, each every LANES-th pack.
// Set by the launcher: THREADS, LANES. Uses: pack_1 or pack_4, reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn normalize_rows_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = workgroup_number(id, groups) * (THREADS / LANES) + thread / LANES;
  let n = min(number, args.N - 1u);  // the sums need all threads
  let lane = thread % LANES;
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let row = row_x(b, t, h);
  let dout_row = row_dout(b, t, h);
  let dx_row = row_dx(b, t, h);
  var squares = 0.0;
  var products = 0.0;
  for (var d = lane; d < args.packs; d += LANES) {
    let value = load_x(row + d);
    squares += sum_of_pack(value * value);
    products += sum_of_pack(value * load_dout(dout_row + d));
  }
  let size = sqrt(sum_of_team(squares, thread));
  let divisor = max(size, args.epsilon);
  let product = sum_of_team(products, thread);
  let along = select(0.0, product / divisor, size > args.epsilon);
  if (number >= args.N) { return; }
  for (var d = lane; d < args.packs; d += LANES) {
    let change = (load_dout(dout_row + d) - load_x(row + d) / divisor * along) / divisor;
    store_dx(dx_row + d, load_dx(dx_row + d) + change);
  }
}
