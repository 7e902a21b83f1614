// add: out = x + y.
// Inputs:  x, y [count]; output: out [count], which may be x or y; all in packs.
// Numbers: packs (count in packs).
// Grid:    ceil(packs / THREADS) workgroups; a thread owns a pack.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
@compute @workgroup_size(THREADS)
fn add(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i < args.packs) { store_out(i, load_x(i) + load_y(i)); }
}
