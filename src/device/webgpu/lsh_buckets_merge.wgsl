// lsh_buckets_merge: turns the moments of tiles into those of all rows before each, merging in order (Chan, Golub and
// LeVeque, 1979), and leaves those of all rows.
// Inputs:  records [B,H,tiles,half,2]: mean and sum of squared deviations of each tile, replaced in place; moments
//          [B,H,half,2] of the first_position rows before, if there are any. Output: moments.
// Numbers: count (B * H * half), T, half, tiles, tile_rows, first_position.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a rotation of a head.
// Set by the launcher: THREADS.
@compute @workgroup_size(THREADS)
fn lsh_buckets_merge(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let own = workgroup_number(id, groups) * THREADS + lane;
  if (own >= args.count) { return; }
  var mean = 0.0;
  var squares = 0.0;
  if (args.first_position > 0u) {
    mean = load_moments(own * 2u);
    squares = load_moments(own * 2u + 1u);
  }
  for (var i = 0u; i < args.tiles; i++) {
    let record = ((own / args.half * args.tiles + i) * args.half + own % args.half) * 2u;
    let tile_mean = load_records(record);
    let tile_squares = load_records(record + 1u);
    store_records(record, mean);
    store_records(record + 1u, squares);
    let before = f32(args.first_position + i * args.tile_rows);
    let rows = f32(min(args.tile_rows, args.T - i * args.tile_rows));
    let delta = tile_mean - mean;
    let share = rows / (before + rows);
    mean += delta * share;
    squares += tile_squares + delta * delta * before * share;
  }
  store_moments(own * 2u, mean);
  store_moments(own * 2u + 1u, squares);
}
