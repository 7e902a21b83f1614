// embed: out[n] = token_table[tokens[n]] + position_table[first_position + t], for rows n = b * T + t.
// Inputs:  tokens i32 [N]; token_table [V,C], position_table [P,C] or null, in packs. Output: out [N,C] in packs.
// Numbers: count (N * packs), packs (of a row), T, V, first_position, nan.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a pack.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
// Numerics: f32; a token out of range gives NaN.
@compute @workgroup_size(THREADS)
fn embed(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let n = i / args.packs;
  let c = i % args.packs;
  let token = load_tokens(n);
  var value = Pack(args.nan);
  if (token >= 0 && token < i32(args.V)) {
    value = load_token_table(u32(token) * args.packs + c);
    if (HAS_POSITION_TABLE) { value += load_position_table((args.first_position + n % args.T) * args.packs + c); }
  }
  store_out(i, value);
}
