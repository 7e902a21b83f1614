// copy: out = x, between any two layouts: by bits, or rounded where the types differ.
// Inputs:  x; output: out; both of four dimensions with sizes (_, size1, size2, size3).
// Numbers: count (elements), size1 .. size3, x_step0 .. x_step3, out_step0 .. out_step3 (elements between neighbours).
// Grid:    ceil(count / THREADS) workgroups; a thread owns an element.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn copy(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let i3 = i % args.size3;
  let above3 = i / args.size3;
  let i2 = above3 % args.size2;
  let above2 = above3 / args.size2;
  let i1 = above2 % args.size1;
  let i0 = above2 / args.size1;
  let from_place = i0 * args.x_step0 + i1 * args.x_step1 + i2 * args.x_step2 + i3 * args.x_step3;
  let to_place = i0 * args.out_step0 + i1 * args.out_step1 + i2 * args.out_step2 + i3 * args.out_step3;
  store_out(to_place, load_x(from_place));
}
