// layerNormBackward, the rows: with xHat = (x - mean) * rstd and g = dout * weight,
//   dx += rstd * (g - mean(g) - xHat * mean(g * xHat)).
// Inputs:  x, dout [N,C]; weight [C]; mean, rstd [N]. Output: dx [N,C], added into.
// Numbers: N, C.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32.
@compute @workgroup_size(THREADS)
fn layer_norm_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let start = n * args.C;
  let mean = load_mean(n);
  let rstd = load_rstd(n);
  var sum = 0.0;
  var along = 0.0;
  for (var c = lane; c < args.C; c += THREADS) {
    let g = load_dout(start + c) * load_weight(c);
    sum += g;
    along += g * (load_x(start + c) - mean) * rstd;
  }
  let mean_g = sum_of_group(sum, lane) / f32(args.C);
  let mean_along = sum_of_group(along, lane) / f32(args.C);
  for (var c = lane; c < args.C; c += THREADS) {
    let g = load_dout(start + c) * load_weight(c);
    let x_hat = (load_x(start + c) - mean) * rstd;
    store_dx(start + c, load_dx(start + c) + rstd * (g - mean_g - x_hat * mean_along));
  }
}
