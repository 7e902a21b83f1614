// grad_norm: sums of squares over runs of x, or, with IS_LAST, the root of the sum of x.
// Input:   x [count] in packs. Output: out [workgroups].
// Numbers: packs (count in packs).
// Grid:    workgroups as many as runs; a thread of all owns every (THREADS * workgroups)-th pack.
// Set by the launcher: THREADS, LANES (as many), IS_LAST. Uses: pack_1 or pack_4, reduce.
// Numerics: f32, in a fixed order.
@compute @workgroup_size(THREADS)
fn grad_norm(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let run = workgroup_number(id, groups);
  var sum = 0.0;
  for (var i = run * THREADS + lane; i < args.packs; i += groups.x * THREADS) {
    let value = load_x(i);
    if (IS_LAST) { sum += sum_of_pack(value); } else { sum += sum_of_pack(value * value); }
  }
  let total = sum_of_team(sum, lane);
  if (lane == 0u) {
    if (IS_LAST) { store_out(run, sqrt(total)); } else { store_out(run, total); }
  }
}
