// embed: out[n] = token_table[tokens[n]] + position_table[first_position + t], for rows n = b * T + t.
// Inputs:  tokens i32 [N]; token_table [V,C]; position_table [P,C] or null. Output: out [N,C].
// Numbers: count (N * C), C, T, V, first_position, nan.
// Grid:    ceil(count / THREADS) workgroups; a thread owns an element.
// Set by the launcher: THREADS.
// Numerics: f32; a token out of range gives NaN.
@compute @workgroup_size(THREADS)
fn embed(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let n = i / args.C;
  let c = i % args.C;
  let token = load_tokens(n);
  var value = args.nan;
  if (token >= 0 && token < i32(args.V)) {
    value = load_token_table(u32(token) * args.C + c);
    if (HAS_POSITION_TABLE) { value += load_position_table((args.first_position + n % args.T) * args.C + c); }
  }
  store_out(i, value);
}
