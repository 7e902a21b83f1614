// column_sums: sums over runs of rows of x, or of x * (y - mean) * rstd if there is a y: what a bias and the weight of
// layerNorm get from their rows.
// Inputs:  x [N,C]; y [N,C], mean [N], rstd [N] or null. Output: out [ceil(N / rows_per_run),C]; with ADDS it is added into.
// Numbers: N, C, rows_per_run, groups_per_run (ceil(C / THREADS)).
// Grid:    groups_per_run * ceil(N / rows_per_run) workgroups; a thread owns a column of a run.
// Set by the launcher: THREADS, ADDS.
// Numerics: f32, in the order of rows.
@compute @workgroup_size(THREADS)
fn column_sums(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = workgroup_number(id, groups);
  let run = group / args.groups_per_run;
  let c = group % args.groups_per_run * THREADS + lane;
  let first = run * args.rows_per_run;
  if (c >= args.C || first >= args.N) { return; }
  var sum = 0.0;
  for (var n = first; n < min(first + args.rows_per_run, args.N); n++) {
    var value = load_x(n * args.C + c);
    if (HAS_Y) { value *= (load_y(n * args.C + c) - load_mean(n)) * load_rstd(n); }
    sum += value;
  }
  let place = run * args.C + c;
  if (ADDS) { sum += load_out(place); }
  store_out(place, sum);
}
