// lshBuckets: bucket = argmax of [x R; -x R], the lowest index on a tie; with records, of standardised projections.
// Inputs:  x [B,T,H,D] strided; rotations [H,D,half]; records [B,H,tiles,half,2] or null: mean and sum of squared
//          deviations of all rows before each tile; base [B,T,base_heads,D] strided: whose moments they are, x itself or,
//          if RELATIVE is 1, another, of which head h * base_heads / H counts for head h. Output: out i32 [B,T,H].
// Numbers: B, T, H, D, half (buckets / 2), tiles (ceil(T / THREADS)), base_heads, first_position (rows before x).
// Grid:    B * H * tiles workgroups; a thread owns a row, and its neighbours read the same rotations. To standardise, a
//          thread walks the tile's rows for a column (Welford, Technometrics 4, 1962).
// Set by the launcher: THREADS, RELATIVE. Uses lsh_buckets_project.
// Numerics: f32; COLUMNS rotations at a time, so that x is read half / COLUMNS times.
// Paper:   Reformer, arXiv 2001.04451.
const LEAST_VARIANCE = 1e-12;
/** Projections of base, where tile holds those of x. */
var<workgroup> base_tile: array<f32, 1u + RELATIVE * (THREADS * COLUMNS - 1u)>;

@compute @workgroup_size(THREADS)
fn lsh_buckets(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = workgroup_number(id, groups);
  let begin = group % args.tiles * THREADS;
  let h = group / args.tiles % args.H;
  let b = group / args.tiles / args.H;
  if (b >= args.B) { return; }
  let t = begin + lane;
  // A thread beyond the last row computes the last one again, for all must meet at the barriers.
  let row = row_x(b, min(t, args.T - 1u), h);
  var best = -1.0;
  var bucket = 0u;
  for (var first = 0u; first < args.half; first += COLUMNS) {
    let own = min(COLUMNS, args.half - first);
    var scores = project(row, h, first);
    if (HAS_RECORDS) {
      put_row(lane, scores);
      if (RELATIVE == 1u) { put_base_row(lane, row_base(b, min(t, args.T - 1u), h * args.base_heads / args.H), h, first); }
      workgroupBarrier();  // guards the tile: all projections are written
      if (lane < own) {
        standardise(lane, min(THREADS, args.T - begin), begin, (group * args.half + first + lane) * 2u);
      }
      workgroupBarrier();  // guards the tile: all are standardised
      scores = row_of_tile(lane);
      workgroupBarrier();  // guards the tile: all have been read
    }
    for (var c = 0u; c < own; c++) {
      // Of equals the lowest index wins: the half of the positive sums comes first.
      let size = abs(scores[c]);
      let index = first + c + select(0u, args.half, scores[c] < 0.0);
      if (size > best || (size == best && index < bucket)) {
        best = size;
        bucket = index;
      }
    }
  }
  if (t < args.T) { store_out((b * args.T + t) * args.H + h, i32(bucket)); }
}

/** One column of the tile. @param begin the tile's first row @param record where the moments before it stand */
fn standardise(column: u32, rows: u32, begin: u32, record: u32) {
  var mean = load_records(record);
  var squares = load_records(record + 1u);
  for (var i = 0u; i < rows; i++) {
    let count = f32(args.first_position + begin + i + 1u);
    let own = tile[i * COLUMNS + column];
    var value = own;
    if (RELATIVE == 1u) { value = base_tile[i * COLUMNS + column]; }
    let delta = value - mean;
    mean += delta / count;
    squares += delta * (value - mean);
    tile[i * COLUMNS + column] = (own - mean) / sqrt(max(squares / count, LEAST_VARIANCE));
  }
}

/** As `project`, of base. @param row where the row begins */
fn put_base_row(to: u32, row: u32, h: u32, first: u32) {
  for (var c = 0u; c < min(COLUMNS, args.half - first); c++) {
    var sum = 0.0;
    for (var d = 0u; d < args.D; d++) {
      sum += load_base(row + d) * load_rotations((h * args.D + d) * args.half + first + c);
    }
    base_tile[to * COLUMNS + c] = sum;
  }
}
