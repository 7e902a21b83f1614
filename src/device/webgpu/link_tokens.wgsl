// link_tokens: lists of the rows of each token, for embed_backward.
// Input:   tokens i32 [N]. Outputs: next i32 [N]: the next row of the same token, -1 for none; is_first i32 [N]: 1 where
//          no row before has the token.
// Numbers: N.
// Grid:    ceil(N / THREADS) workgroups; a thread owns a row and looks both ways until it meets the token: at worst N
//          reads, which are the same for neighbouring threads.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn link_tokens(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = workgroup_number(id, groups) * THREADS + lane;
  if (n >= args.N) { return; }
  let token = load_tokens(n);
  var after = n + 1u;
  while (after < args.N && load_tokens(after) != token) { after++; }
  var before = n;
  while (before > 0u && load_tokens(before - 1u) != token) { before--; }
  store_next(n, select(-1, i32(after), after < args.N));
  store_is_first(n, select(0, 1, before == 0u));
}
