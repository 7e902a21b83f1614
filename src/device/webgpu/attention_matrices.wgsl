// What the attention kernels on subgroup matrices share. A workgroup of SUBGROUPS subgroups owns a tile of TILE rows, each
// subgroup OWN of them, and walks along the other side by tiles of WALK rows, which its subgroups share.
//   A subgroup's own rows are left factors, held in registers; tiles lie in workgroup memory and are right factors, turned
// for scores (own x walked) and as they are for products (own x features). No lane can see into a matrix, so scores pass
// through workgroup memory, and come back as weights in f16, left factors again. There lane `lane` owns the four places
// from 4 * (lane % FOURS) of the rows lane / FOURS + i * ROWS_AT_ONCE, i < LANE_ROWS, of a block of SIDE rows.
// Constants: SUBGROUPS; BLOCKS (matrices of own rows a subgroup), DEPTH and COLUMNS (matrices along D and along a row of
// scores), TILES (that lie in memory at once), AREAS (of weights, likewise, each block's); WHOLE_ROWS (D fills its matrices);
// PARTS (sums leave the matrices COLUMNS at a time; where DEPTH is odd, the last one twice), LANE_ROWS and CARRIED (pieces
// of a tile that a thread brings), which follow from them. Loops over matrices are written out: an array of matrices that
// is indexed by what is not constant is slow. Matrices that are declared within a loop are set to zero there by name
// (Result()): Dawn 0.6.2 on NVIDIA's driver 580.159 otherwise leaves in them what the last turn did.
// Workgroup memory, of which that driver gives a processor's workgroups 48 KiB in all, decides how many run at once:
// 16 * (TILES * TILE_PIECES + SUBGROUPS * AREA) bytes.
const SIDE = 16u;
const LANES = 32u;
const THREADS = SUBGROUPS * LANES;
const OWN = BLOCKS * SIDE;
const TILE = SUBGROUPS * OWN;
const WALK = COLUMNS * SIDE;
const FEATURES = DEPTH * SIDE;
const NO_ROW = 0xffffffffu;
const LOG2_E = 1.4426950408889634;

/** Of 16 bytes: 8 halves. A row in workgroup memory is one longer, so that the rows of a matrix meet different banks. */
const PIECES = FEATURES / 8u;
const ROW = PIECES + 1u;
const TILE_PIECES = WALK * ROW;

/** Fours in a row of scores; rows of scores and of weights are longer too, for the banks. */
const FOURS = WALK / 4u;
const SCORE_ROW = FOURS + 2u;
const WEIGHT_ROW = FOURS / 2u + 1u;
const WEIGHT_AREA = SIDE * WEIGHT_ROW;
/** A subgroup's place for a block of scores, then for weights; at first its own rows pass through it. */
const AREA = max(max(SIDE * SCORE_ROW, AREAS * WEIGHT_AREA), SIDE * ROW);
const ROWS_AT_ONCE = LANES / FOURS;

alias Left = subgroup_matrix_left<f16, SIDE, SIDE>;
alias Right = subgroup_matrix_right<f16, SIDE, SIDE>;
alias Result = subgroup_matrix_result<f32, SIDE, SIDE>;
/** Of a block: own rows, and their sums, by features; scores. */
alias OwnRows = array<Left, DEPTH>;
alias Sums = array<Result, DEPTH>;
alias Scores = array<Result, COLUMNS>;
/** A lane's share of scores. */
alias Share = array<vec4<f32>, LANE_ROWS>;
/**
 * A thread's share of a tile, on its way from memory: asked for long before it is put into its place, and under a
 * condition, since the driver's compiler moves what is asked for in any case down to where it is used.
 */
alias Carried = array<vec4<u32>, CARRIED>;

var<workgroup> tiles: array<vec4<u32>, TILES * TILE_PIECES>;
var<workgroup> scores: array<vec4<u32>, SUBGROUPS * AREA>;

/** A subgroup, and which of its lanes. */
struct Place {
  subgroup: u32,
  lane: u32,
}

// Arrays of matrices stay in the kernels' own functions: passed by pointer, they would leave the registers.

/** Where the i-th piece of a thread's share lies in the tile. */
fn carried_row(i: u32, thread: u32) -> u32 { return (thread + i * THREADS) / PIECES; }
fn carried_piece(i: u32, thread: u32) -> u32 { return (thread + i * THREADS) % PIECES; }

fn put(carried: ptr<function, Carried>, tile: u32, thread: u32) {
  for (var i = 0u; i < CARRIED; i++) {  // unrolled
    let row = carried_row(i, thread);
    if (WALK * PIECES % THREADS == 0u || row < WALK) {
      tiles[tile * TILE_PIECES + row * ROW + carried_piece(i, thread)] = (*carried)[i];
    }
  }
}

/** Of the block of own rows that stands in the subgroup's area. */
fn own_at(subgroup: u32, depth: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&scores, subgroup * AREA + 2u * depth, ROW);
}

/** A matrix of a tile's rows: turned, features by rows. */
fn turned_at(tile: u32, column: u32, depth: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&tiles, tile * TILE_PIECES + column * SIDE * ROW + 2u * depth, ROW);
}

/** As it is, rows by features. */
fn walked_at(tile: u32, column: u32, depth: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(&tiles, tile * TILE_PIECES + column * SIDE * ROW + 2u * depth, ROW);
}

fn weights_at(subgroup: u32, area: u32, column: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&scores, subgroup * AREA + area * WEIGHT_AREA + 2u * column, WEIGHT_ROW);
}

fn store_result(subgroup: u32, column: u32, result: Result) {
  subgroupMatrixStore<row_major>(&scores, subgroup * AREA + 4u * column, result, SCORE_ROW);
}

fn load_result(subgroup: u32, column: u32) -> Result {
  return subgroupMatrixLoad<Result, row_major>(&scores, subgroup * AREA + 4u * column, SCORE_ROW);
}

/** The lane's i-th row, of the block's. */
fn lane_row(at: Place, i: u32) -> u32 { return at.lane / FOURS + i * ROWS_AT_ONCE; }
/** The first of the lane's four places in a row of a tile. */
fn lane_place(at: Place) -> u32 { return 4u * (at.lane % FOURS); }

fn score_at(at: Place, i: u32) -> u32 { return at.subgroup * AREA + lane_row(at, i) * SCORE_ROW + at.lane % FOURS; }
fn lane_scores(at: Place, i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(scores[score_at(at, i)]); }
fn store_lane_scores(at: Place, i: u32, values: vec4<f32>) { scores[score_at(at, i)] = bitcast<vec4<u32>>(values); }

/** A lane's four weights are half a piece. */
fn store_weights(at: Place, area: u32, i: u32, values: vec4<f32>) {
  let four = at.lane % FOURS;
  let to = at.subgroup * AREA + area * WEIGHT_AREA + lane_row(at, i) * WEIGHT_ROW + four / 2u;
  scores[to][four % 2u * 2u] = pack2x16float(values.xy);
  scores[to][four % 2u * 2u + 1u] = pack2x16float(values.zw);
}

/** Of a lane's i-th row, the four from walked place `first` on: which of them lie within the row's bounds. */
fn within(bounds: vec2<u32>, first: u32) -> vec4<bool> {
  let places = vec4(first) + vec4(0u, 1u, 2u, 3u);
  return (places >= bounds.xxxx) & (places < bounds.yyyy);
}

fn largest_of_four(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

/** Combined over the lanes that share a row. */
fn largest_of_row(value: f32) -> f32 {
  var most = value;
  for (var mask = 1u; mask < FOURS; mask *= 2u) { most = max(most, subgroupShuffleXor(most, mask)); }
  return most;
}
fn sum_of_row(value: f32) -> f32 {
  var sum = value;
  for (var mask = 1u; mask < FOURS; mask *= 2u) { sum += subgroupShuffleXor(sum, mask); }
  return sum;
}
