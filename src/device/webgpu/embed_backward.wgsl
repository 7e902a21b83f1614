// embed_backward: d_token_table[tokens[n]] += dout[n]; a token out of range is passed over.
// Inputs:  tokens, next, is_first i32 [N] (link_tokens.wgsl); dout [N,C] in packs. Output: d_token_table [V,C] in packs,
//          added into.
// Numbers: count (N * packs), packs (of a row), V.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a pack of dout. Those of a token's first row add up the
//          rows of its list.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
// Numerics: f32, each sum in the order of rows: the same bits in every run, and no atomics.
@compute @workgroup_size(THREADS)
fn embed_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let n = i / args.packs;
  let c = i % args.packs;
  let token = load_tokens(n);
  if (load_is_first(n) == 0 || token < 0 || token >= i32(args.V)) { return; }
  var sum = Pack();
  for (var row = i32(n); row >= 0; row = load_next(u32(row))) { sum += load_dout(u32(row) * args.packs + c); }
  let place = u32(token) * args.packs + c;
  store_d_token_table(place, load_d_token_table(place) + sum);
}
