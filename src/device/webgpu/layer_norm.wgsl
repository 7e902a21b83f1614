// layerNorm: out = (x - mean) * rstd * weight + bias over rows of C elements.
// Inputs:  x [N,C], weight [C], bias [C] or null, in packs. Outputs: out [N,C] in packs; mean, rstd [N].
// Numbers: N, C, packs (of a row), epsilon.
// Grid:    ceil(N * LANES / THREADS) workgroups; LANES threads own a row, each every LANES-th pack.
// Set by the launcher: THREADS, LANES. Uses: pack_1 or pack_4, reduce.
// Numerics: f32, the variance from differences to the mean: no digits are lost far from zero.
// Paper:   Ba, Kiros and Hinton, arXiv 1607.06450.
@compute @workgroup_size(THREADS)
fn layer_norm(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup_number(id, groups) * (THREADS / LANES) + thread / LANES;
  let n = min(row, args.N - 1u);  // the sums need all threads
  let lane = thread % LANES;
  let start = n * args.packs;
  var sum = 0.0;
  for (var c = lane; c < args.packs; c += LANES) { sum += sum_of_pack(load_x(start + c)); }
  let mean = sum_of_team(sum, thread) / f32(args.C);

  var squares = 0.0;
  for (var c = lane; c < args.packs; c += LANES) {
    let difference = load_x(start + c) - mean;
    squares += sum_of_pack(difference * difference);
  }
  let rstd = 1.0 / sqrt(sum_of_team(squares, thread) / f32(args.C) + args.epsilon);

  if (row >= args.N) { return; }
  for (var c = lane; c < args.packs; c += LANES) {
    var value = (load_x(start + c) - mean) * rstd * load_weight(c);
    if (HAS_BIAS) { value += load_bias(c); }
    store_out(start + c, value);
  }
  if (lane == 0u) {
    store_mean(n, mean);
    store_rstd(n, rstd);
  }
}
