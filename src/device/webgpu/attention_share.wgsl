// What a row of attentionForward becomes: its own sums, and with MERGES what o and lse hold of other keys.
// Numbers: minus_infinity. Constants: MERGES.
const MINUS_INFINITY = 0xff800000u;

struct RowShare {
  /** What is there is taken this many times, the row's sums this many times. */
  old: f32,
  own: f32,
  lse: f32,
}

/** @param most what the row's weights are relative to, a logarithm; @param sum of the weights */
fn share_of(lse_place: u32, most: f32, sum: f32) -> RowShare {
  var share = RowShare(0.0, 0.0, args.minus_infinity);
  if (sum > 0.0) { share = RowShare(0.0, 1.0 / sum, most + log(sum)); }
  if (!MERGES) { return share; }
  let old = load_lse(lse_place);
  if (bitcast<u32>(old) == MINUS_INFINITY) { return share; }
  if (sum == 0.0) { return RowShare(1.0, 0.0, old); }
  let larger = max(old, share.lse);
  let old_weight = exp(old - larger);
  let own_weight = exp(share.lse - larger);
  let both = old_weight + own_weight;
  return RowShare(old_weight / both, own_weight / both / sum, larger + log(both));
}
