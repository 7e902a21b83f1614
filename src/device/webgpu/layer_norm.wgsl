// layerNorm: out = (x - mean) * rstd * weight + bias over rows of C elements.
// Inputs:  x [N,C]; weight [C]; bias [C] or null. Outputs: out [N,C]; mean, rstd [N].
// Numbers: N, C, epsilon.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32, the variance from differences to the mean: no digits are lost far from zero.
// Paper:   Ba, Kiros and Hinton, arXiv 1607.06450.
@compute @workgroup_size(THREADS)
fn layer_norm(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let start = n * args.C;
  var sum = 0.0;
  for (var c = lane; c < args.C; c += THREADS) { sum += load_x(start + c); }
  let mean = sum_of_group(sum, lane) / f32(args.C);

  var squares = 0.0;
  for (var c = lane; c < args.C; c += THREADS) {
    let difference = load_x(start + c) - mean;
    squares += difference * difference;
  }
  let rstd = 1.0 / sqrt(sum_of_group(squares, lane) / f32(args.C) + args.epsilon);

  for (var c = lane; c < args.C; c += THREADS) {
    var value = (load_x(start + c) - mean) * rstd * load_weight(c);
    if (HAS_BIAS) { value += load_bias(c); }
    store_out(start + c, value);
  }
  if (lane == 0u) {
    store_mean(n, mean);
    store_rstd(n, rstd);
  }
}
