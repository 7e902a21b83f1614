// softmaxCrossEntropy: losses[n] = logsumexp(logits[n]) - logits[n, target]; with a grad_scale, logits[n] becomes
// (softmax - onehot) * grad_scale. Target -1: loss and gradient 0. Other targets out of range: NaN. A loss that is not
// finite: gradient NaN.
// Inputs:  logits [N,V] (also the output); targets i32 [N]; grad_scale [1] or null. Output: losses [N].
// Numbers: N, V, nan, infinity.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th element.
// Set by the launcher: THREADS. Uses: reduce.
// Numerics: f32, in a fixed order. What is not finite is told by its bits: WGSL lets a compiler believe that no number is
//          NaN or infinite. -Infinity weighs nothing; +Infinity or NaN in a row make its loss NaN.
const LOWEST = -3.4028234e38;
const EXPONENT = 0x7f800000u;
const MINUS_INFINITY = 0xff800000u;

fn is_minus_infinity(z: f32) -> bool { return bitcast<u32>(z) == MINUS_INFINITY; }

/** +Infinity or NaN. */
fn is_bad(z: f32) -> bool { return (bitcast<u32>(z) & EXPONENT) == EXPONENT && !is_minus_infinity(z); }

fn weight_of(z: f32, most: f32) -> f32 {
  if (is_minus_infinity(z)) { return 0.0; }
  return exp(z - most);
}

@compute @workgroup_size(THREADS)
fn softmax_cross_entropy(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let start = n * args.V;

  // Maximum of what is finite.
  var most = LOWEST;
  var bad = 0.0;
  for (var i = lane; i < args.V; i += THREADS) {
    let z = load_logits(start + i);
    if (is_bad(z)) { bad = 1.0; } else if (!is_minus_infinity(z)) { most = max(most, z); }
  }
  let row_most = max_of_group(most, lane);
  let row_bad = max_of_group(bad, lane);

  // Sum.
  var sum = 0.0;
  if (row_bad == 0.0) {
    for (var i = lane; i < args.V; i += THREADS) { sum += weight_of(load_logits(start + i), row_most); }
  }
  let row_sum = sum_of_group(sum, lane);

  // Loss.
  let target_index = load_targets(n);
  let is_ignored = target_index == -1;
  let is_valid = target_index >= 0 && target_index < i32(args.V) && row_bad == 0.0 && row_sum > 0.0;
  var loss = args.nan;
  var is_finite = false;
  if (is_ignored) { loss = 0.0; } else if (is_valid) {
    let z = load_logits(start + u32(target_index));
    is_finite = !is_minus_infinity(z);
    loss = select(args.infinity, row_most - z + log(row_sum), is_finite);
  }
  storageBarrier();
  workgroupBarrier();  // guards the logit of the target: all have read it before it becomes a gradient
  if (lane == 0u) { store_losses(n, loss); }
  if (!HAS_GRAD_SCALE) { return; }

  // Gradient.
  let scale = load_grad_scale(0u);
  for (var i = lane; i < args.V; i += THREADS) {
    var gradient = args.nan;
    if (is_ignored) { gradient = 0.0; } else if (is_finite) {
      let share = weight_of(load_logits(start + i), row_most) / row_sum;
      gradient = (share - select(0.0, 1.0, i32(i) == target_index)) * scale;
    }
    store_logits(start + i, gradient);
  }
}
