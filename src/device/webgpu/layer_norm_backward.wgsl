// layerNormBackward, the rows: with xHat = (x - mean) * rstd and g = dout * weight,
//   dx += rstd * (g - mean(g) - xHat * mean(g * xHat)).
// Inputs:  x, dout [N,C], weight [C], in packs; mean, rstd [N]. Output: dx [N,C] in packs, added into.
// Numbers: N, C, packs (of a row).
// Grid:    ceil(N * LANES / THREADS) workgroups; LANES threads own a row, each every LANES-th pack.
// Set by the launcher: THREADS, LANES. Uses: pack_1 or pack_4, reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn layer_norm_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup_number(id, groups) * (THREADS / LANES) + thread / LANES;
  let n = min(row, args.N - 1u);  // the sums need all threads
  let lane = thread % LANES;
  let start = n * args.packs;
  let mean = load_mean(n);
  let rstd = load_rstd(n);
  var sum = 0.0;
  var along = 0.0;
  for (var c = lane; c < args.packs; c += LANES) {
    let g = load_dout(start + c) * load_weight(c);
    sum += sum_of_pack(g);
    along += sum_of_pack(g * (load_x(start + c) - mean) * rstd);
  }
  let mean_g = sum_of_team(sum, thread) / f32(args.C);
  let mean_along = sum_of_team(along, thread) / f32(args.C);
  if (row >= args.N) { return; }
  for (var c = lane; c < args.packs; c += LANES) {
    let g = load_dout(start + c) * load_weight(c);
    let x_hat = (load_x(start + c) - mean) * rstd;
    store_dx(start + c, load_dx(start + c) + rstd * (g - mean_g - x_hat * mean_along));
  }
}
