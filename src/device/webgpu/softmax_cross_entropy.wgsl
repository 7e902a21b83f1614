// softmaxCrossEntropy: losses[n] = logsumexp(logits[n]) - logits[n, target]; with a grad_scale, logits[n] becomes
// (softmax - onehot) * grad_scale. Target -1: loss and gradient 0. Other targets out of range: NaN. A loss that is not
// finite: gradient NaN.
// Inputs:  logits [N,V] in packs (also the output); targets i32 [N]; grad_scale [1] or null. Output: losses [N].
// Numbers: N, V, packs (of a row), nan, infinity.
// Grid:    N workgroups, a row each; a thread owns every THREADS-th pack.
// Set by the launcher: THREADS, LANES (as many). Uses: pack_1 or pack_4, reduce.
// Numerics: f32, in a fixed order; the row is read once for maximum and sum, and once for the gradient. What is not finite is
//          told by its bits: WGSL lets a compiler believe that no number is NaN or infinite. -Infinity weighs nothing;
//          +Infinity or NaN in a row make its loss NaN.
const LOWEST = -3.4028234e38;
const EXPONENT = 0x7f800000u;
const MINUS_INFINITY = 0xff800000u;

fn is_minus_infinity(z: f32) -> bool { return bitcast<u32>(z) == MINUS_INFINITY; }

/** -Infinity as the lowest number, which is only kept where a row has no other. */
fn finite_or_lowest(z: Pack) -> Pack { return select(z, Pack(LOWEST), bitcast<PackBits>(z) == PackBits(MINUS_INFINITY)); }

/** Whether +Infinity or NaN is among them. */
fn any_bad(z: Pack) -> bool {
  let bits = bitcast<PackBits>(z);
  return any(((bits & PackBits(EXPONENT)) == PackBits(EXPONENT)) & (bits != PackBits(MINUS_INFINITY)));
}

fn weight_of(z: Pack, most: f32) -> Pack {
  return select(exp(z - most), Pack(), bitcast<PackBits>(z) == PackBits(MINUS_INFINITY));
}

@compute @workgroup_size(THREADS)
fn softmax_cross_entropy(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups);
  if (n >= args.N) { return; }
  let start = n * args.packs;

  // Maximum of what is finite, and the sum of weights against it: a new maximum scales what was summed.
  var most = LOWEST;
  var sum = 0.0;
  var bad = 0.0;
  for (var i = lane; i < args.packs; i += THREADS) {
    let z = load_logits(start + i);
    if (any_bad(z)) {
      bad = 1.0;
    } else {
      let own_most = max_of_pack(finite_or_lowest(z));
      if (own_most > most) {
        sum *= exp(most - own_most);
        most = own_most;
      }
      sum += sum_of_pack(weight_of(z, most));
    }
  }
  let row_bad = max_of_team(bad, lane);
  let row_most = max_of_team(most, lane);
  let row_sum = sum_of_team(sum * exp(most - row_most), lane);

  // Loss.
  let target_index = load_targets(n);
  let is_ignored = target_index == -1;
  let is_valid = target_index >= 0 && target_index < i32(args.V) && row_bad == 0.0 && row_sum > 0.0;
  var loss = args.nan;
  var is_finite = false;
  if (is_ignored) { loss = 0.0; } else if (is_valid) {
    let z = part_of_pack(load_logits(start + u32(target_index) / WIDTH), u32(target_index) % WIDTH);
    is_finite = !is_minus_infinity(z);
    loss = select(args.infinity, row_most - z + log(row_sum), is_finite);
  }
  storageBarrier();
  workgroupBarrier();  // guards the logit of the target: all have read it before it becomes a gradient
  if (lane == 0u) { store_losses(n, loss); }
  if (!HAS_GRAD_SCALE) { return; }

  // Gradient.
  let scale = load_grad_scale(0u);
  for (var i = lane; i < args.packs; i += THREADS) {
    var gradient = Pack(args.nan);
    if (is_ignored) { gradient = Pack(); } else if (is_finite) {
      let share = weight_of(load_logits(start + i), row_most) / row_sum;
      let is_target = PackBits(i * WIDTH) + places_in_pack() == PackBits(u32(target_index));
      gradient = (share - select(Pack(), Pack(1.0), is_target)) * scale;
    }
    store_logits(start + i, gradient);
  }
}
