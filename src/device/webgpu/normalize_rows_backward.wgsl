// normalizeRowsBackward: dx += (dout - xHat * (xHat . dout)) / |x| with xHat = x / |x|; where |x| is at most epsilon, the
// divisor is constant, and dx += dout / epsilon.
// Inputs:  x, dout [B,T,H,D] strided. Output: dx likewise, added into; may lie in the memory of the others.
// Numbers: N (B * T * H), T, H, D, epsilon.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn normalize_rows_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let row = row_x(b, t, h);
  let dout_row = row_dout(b, t, h);
  let dx_row = row_dx(b, t, h);
  var squares = 0.0;
  var products = 0.0;
  for (var d = lane; d < args.D; d += THREADS) {
    let value = load_x(row + d);
    squares += value * value;
    products += value * load_dout(dout_row + d);
  }
  let size = sqrt(sum_of_group(squares, lane));
  let divisor = max(size, args.epsilon);
  let product = sum_of_group(products, lane);
  let along = select(0.0, product / divisor, size > args.epsilon);
  for (var d = lane; d < args.D; d += THREADS) {
    let change = (load_dout(dout_row + d) - load_x(row + d) / divisor * along) / divisor;
    store_dx(dx_row + d, load_dx(dx_row + d) + change);
  }
}
