// add: out = x + y.
// Inputs:  x, y [count]; output: out [count], which may be x or y.
// Numbers: count.
// Grid:    ceil(count / THREADS) workgroups; a thread owns an element.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn add(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i < args.count) { store_out(i, load_x(i) + load_y(i)); }
}
