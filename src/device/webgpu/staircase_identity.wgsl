// staircase_identity: rows i32 [heads,T]: each place's own number.
// Numbers: count (heads * T), T.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a place.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn staircase_identity(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i < args.count) { store_rows(i, i32(i % args.T)); }
}
