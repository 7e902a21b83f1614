// column_sums: sums over runs of rows of x, or of x * (y - mean) * rstd if there is a y: what a bias and the weight of
// layerNorm get from their rows.
// Inputs:  x, y [N,C] in packs, mean, rstd [N]; the last three or null. Output: out [ceil(N / rows_per_run),C] in packs; with
//          ADDS it is added into.
// Numbers: N, packs (of a row), rows_per_run, groups_per_run (ceil(packs / THREADS)).
// Grid:    groups_per_run * ceil(N / rows_per_run) workgroups; a thread owns a pack of columns of a run.
// Set by the launcher: THREADS, ADDS. Uses: pack_1 or pack_4.
// Numerics: f32, in the order of rows.
@compute @workgroup_size(THREADS)
fn column_sums(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = workgroup_number(id, groups);
  let run = group / args.groups_per_run;
  let c = group % args.groups_per_run * THREADS + thread;
  let first = run * args.rows_per_run;
  if (c >= args.packs || first >= args.N) { return; }
  var sum = Pack();
  for (var n = first; n < min(first + args.rows_per_run, args.N); n++) {
    var value = load_x(n * args.packs + c);
    if (HAS_Y) { value *= (load_y(n * args.packs + c) - load_mean(n)) * load_rstd(n); }
    sum += value;
  }
  let place = run * args.packs + c;
  if (ADDS) { sum += load_out(place); }
  store_out(place, sum);
}
