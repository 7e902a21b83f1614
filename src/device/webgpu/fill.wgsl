// fill: every element becomes one value.
// Output:  out [count], as bits, f16 as numbers.
// Numbers: count, value (likewise).
// Grid:    ceil(count / THREADS) workgroups; a thread owns an element.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn fill(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i < args.count) { store_out(i, args.value); }
}
