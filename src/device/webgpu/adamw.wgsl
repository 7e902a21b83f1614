// adamw: one step of AdamW in place.
// Inputs:  grad [count] in packs; norm [1]; control [4] = learning rate, 1 - beta1^t, 1 - beta2^t, gradient factor.
//          Outputs, in packs: param, m, v [count], also read; computed [count] or null: the new values of param.
// Numbers: packs (count in packs), max_norm, clips (0: max_norm is Infinity), beta1, one_less_beta1, beta2, one_less_beta2, epsilon,
//          weight_decay.
// Grid:    ceil(packs / THREADS) workgroups; a thread owns a pack.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
// Numerics: f32. A norm that is not finite leaves everything as it was.
// Paper:   Loshchilov and Hutter, arXiv 1711.05101.
@compute @workgroup_size(THREADS)
fn adamw(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  // By bits: WGSL lets a compiler believe that no number is NaN or infinite.
  let norm_bits = load_norm(0u);
  if (i >= args.packs || (norm_bits & 0x7f800000u) == 0x7f800000u) { return; }
  let norm = bitcast<f32>(norm_bits);
  let learning_rate = load_control(0u);
  let factor = load_control(3u);
  var scale = factor;
  if (args.clips == 1u && factor * norm > args.max_norm) { scale = args.max_norm / norm; }

  let g = load_grad(i) * scale;
  let m = args.beta1 * load_m(i) + args.one_less_beta1 * g;
  let v = args.beta2 * load_v(i) + args.one_less_beta2 * (g * g);
  let change = m / load_control(1u) / (sqrt(v / load_control(2u)) + args.epsilon);
  let old = load_param(i);
  let new_value = old - learning_rate * (change + args.weight_decay * old);
  store_m(i, m);
  store_v(i, v);
  store_param(i, new_value);
  if (HAS_COMPUTED) { store_computed(i, new_value); }
}
