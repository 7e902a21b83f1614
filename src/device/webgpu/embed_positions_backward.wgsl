// embed_positions_backward: d_position_table[t] += dout[b,t] for all b whose token is in range.
// Inputs:  tokens i32 [B,T]; dout [B,T,C] in packs. Output: d_position_table [P,C] in packs, added into.
// Numbers: count (T * packs), packs (of a row), B, T, V.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a pack of d_position_table.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
// Numerics: f32, in the order of b.
@compute @workgroup_size(THREADS)
fn embed_positions_backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let t = i / args.packs;
  var sum = Pack();
  for (var b = 0u; b < args.B; b++) {
    let token = load_tokens(b * args.T + t);
    if (token >= 0 && token < i32(args.V)) { sum += load_dout(b * args.count + i); }
  }
  store_d_position_table(i, load_d_position_table(i) + sum);
}
