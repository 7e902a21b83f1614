// grad_norm: sums of squares over runs of x, or, with IS_LAST, the root of the sum of x.
// Input:   x [count]. Output: out [workgroups].
// Numbers: count.
// Grid:    workgroups as many as runs; a thread of all owns every (THREADS * workgroups)-th element.
// Set by the launcher: THREADS, IS_LAST. Uses: reduce.
// Numerics: f32, in a fixed order.
@compute @workgroup_size(THREADS)
fn grad_norm(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let run = workgroup_number(id, groups);
  var sum = 0.0;
  for (var i = run * THREADS + lane; i < args.count; i += groups.x * THREADS) {
    let value = load_x(i);
    if (IS_LAST) { sum += value; } else { sum += value * value; }
  }
  let total = sum_of_group(sum, lane);
  if (lane == 0u) {
    if (IS_LAST) { store_out(run, sqrt(total)); } else { store_out(run, total); }
  }
}
