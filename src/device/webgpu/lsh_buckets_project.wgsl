// What the hashing kernels share: a row's projections on COLUMNS neighbouring rotations at a time, summed in the order of
// D, and the tile that holds those of a workgroup's THREADS rows. Reads x, rotations, args.D, args.half.
const COLUMNS = 4u;
// Not of vectors: to store one component may write all of them, and each thread walks its own.
var<workgroup> tile: array<f32, THREADS * COLUMNS>;

/** On rotations first, first + 1, ... of head h; zeros beyond the last. @param row where the row begins */
fn project(row: u32, h: u32, first: u32) -> vec4<f32> {
  var sums = vec4<f32>();
  let own = min(COLUMNS, args.half - first);
  for (var d = 0u; d < args.D; d++) {
    let value = load_x(row + d);
    let place = (h * args.D + d) * args.half + first;
    for (var c = 0u; c < own; c++) { sums[c] += value * load_rotations(place + c); }
  }
  return sums;
}

fn put_row(row: u32, values: vec4<f32>) {
  for (var c = 0u; c < COLUMNS; c++) { tile[row * COLUMNS + c] = values[c]; }
}

fn row_of_tile(row: u32) -> vec4<f32> {
  let at = row * COLUMNS;
  return vec4<f32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
}
