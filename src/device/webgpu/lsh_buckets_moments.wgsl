// lsh_buckets_moments: of each tile of THREADS rows and each rotation, the mean and the sum of squared deviations of the
// projections, in two passes over them.
// Inputs:  x [B,T,x_heads,D] strided, head h * x_heads / H for head h; rotations [H,D,half]. Output: records [B,H,tiles,half,2].
// Numbers: B, T, H, D, half, tiles (ceil(T / THREADS)), x_heads.
// Grid:    B * H * tiles workgroups; a thread projects a row, then some walk a column.
// Set by the launcher: THREADS. Uses lsh_buckets_project.
@compute @workgroup_size(THREADS)
fn lsh_buckets_moments(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = workgroup_number(id, groups);
  let begin = group % args.tiles * THREADS;
  let h = group / args.tiles % args.H;
  let b = group / args.tiles / args.H;
  if (b >= args.B) { return; }
  let rows = min(THREADS, args.T - begin);
  let row = row_x(b, min(begin + lane, args.T - 1u), h * args.x_heads / args.H);
  for (var first = 0u; first < args.half; first += COLUMNS) {
    put_row(lane, project(row, h, first));
    workgroupBarrier();  // guards the tile: all projections are written
    if (lane < min(COLUMNS, args.half - first)) {
      var mean = 0.0;
      for (var i = 0u; i < rows; i++) { mean += tile[i * COLUMNS + lane]; }
      mean /= f32(rows);
      var squares = 0.0;
      for (var i = 0u; i < rows; i++) {
        let deviation = tile[i * COLUMNS + lane] - mean;
        squares += deviation * deviation;
      }
      let record = (group * args.half + first + lane) * 2u;
      store_records(record, mean);
      store_records(record + 1u, squares);
    }
    workgroupBarrier();  // guards the tile: all have been read
  }
}
