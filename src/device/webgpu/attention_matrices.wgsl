// What the attention kernels on subgroup matrices share. A workgroup of SUBGROUPS subgroups owns a tile of TILE rows, each
// subgroup OWN of them, and walks along the other side by tiles of WALK rows, which its subgroups share.
//   A subgroup's own rows are left factors, held in registers; tiles lie in workgroup memory and are right factors, turned
// for scores (own x walked) and as they are for products (own x features). No lane can see into a matrix, so scores pass
// through workgroup memory, and come back as weights in f16, left factors again. There lane `lane` owns the four places
// from 4 * (lane % FOURS) of the rows lane / FOURS + i * ROWS_AT_ONCE, i < LANE_ROWS, of its subgroup's.
// Constants: BLOCKS (matrices of own rows a subgroup), DEPTH and COLUMNS (matrices along D and along a row of scores), AREAS
// (scores held at once); PARTS (sums leave the matrices COLUMNS at a time; where DEPTH is odd, the last one twice) and
// LANE_ROWS, which follow from them. Loops over matrices are written out: an array of matrices that is indexed by what is
// not constant is slow. Matrices that are declared within a loop are set to zero there by name (Result()): Dawn 0.6.2 on
// NVIDIA's driver 580.159 otherwise leaves in them what the last turn did.
// Workgroup memory: 16 * (2 * WALK * ROW + SUBGROUPS * AREA) + 8 * SUBGROUPS * AREAS * WEIGHT_AREA bytes.
const SIDE = 16u;
const LANES = 32u;
const SUBGROUPS = 4u;
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

/** Fours in a row of scores; two more between rows, for the banks. */
const FOURS = WALK / 4u;
const SCORE_ROW = FOURS + 2u;
const SCORE_AREA = OWN * SCORE_ROW;
/** Also what a subgroup's own rows pass through. */
const AREA = max(AREAS * SCORE_AREA, OWN * ROW);
const WEIGHT_AREA = OWN * SCORE_ROW;
const ROWS_AT_ONCE = LANES / FOURS;

alias Left = subgroup_matrix_left<f16, SIDE, SIDE>;
alias Right = subgroup_matrix_right<f16, SIDE, SIDE>;
alias Result = subgroup_matrix_result<f32, SIDE, SIDE>;
/** Own rows by features. */
alias OwnRows = array<array<Left, DEPTH>, BLOCKS>;
alias Sums = array<array<Result, DEPTH>, BLOCKS>;
/** A lane's share of scores. */
alias Share = array<vec4<f32>, LANE_ROWS>;

/** Two tiles of walked rows, one after the other. */
var<workgroup> tiles: array<vec4<u32>, 2u * WALK * ROW>;
var<workgroup> scores: array<vec4<u32>, SUBGROUPS * AREA>;
var<workgroup> weights: array<vec2<u32>, SUBGROUPS * AREAS * WEIGHT_AREA>;

/** A subgroup, and which of its lanes. */
struct Place {
  subgroup: u32,
  lane: u32,
}

// Arrays of matrices stay in the kernels' own functions: passed by pointer, they would leave the registers.

/** A matrix of own rows that stand in the subgroup's scores, ROW pieces a row. */
fn own_at(subgroup: u32, block: u32, depth: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&scores, subgroup * AREA + block * SIDE * ROW + 2u * depth, ROW);
}

/** A matrix of a tile's rows: turned, features by rows. */
fn turned_at(tile: u32, column: u32, depth: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&tiles, (tile * WALK + column * SIDE) * ROW + 2u * depth, ROW);
}

/** As it is, rows by features. */
fn walked_at(tile: u32, column: u32, depth: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(&tiles, (tile * WALK + column * SIDE) * ROW + 2u * depth, ROW);
}

fn weights_at(subgroup: u32, area: u32, block: u32, column: u32) -> Left {
  let first = (subgroup * AREAS + area) * WEIGHT_AREA + block * SIDE * SCORE_ROW + 4u * column;
  return subgroupMatrixLoad<Left, row_major>(&weights, first, SCORE_ROW);
}

fn store_result(subgroup: u32, area: u32, block: u32, column: u32, result: Result) {
  let first = subgroup * AREA + area * SCORE_AREA + block * SIDE * SCORE_ROW + 4u * column;
  subgroupMatrixStore<row_major>(&scores, first, result, SCORE_ROW);
}

/** The lane's i-th row, of the subgroup's. */
fn lane_row(at: Place, i: u32) -> u32 { return at.lane / FOURS + i * ROWS_AT_ONCE; }
/** The first of the lane's four places in a row of a tile. */
fn lane_place(at: Place) -> u32 { return 4u * (at.lane % FOURS); }

fn score_at(at: Place, area: u32, i: u32) -> u32 {
  return at.subgroup * AREA + area * SCORE_AREA + lane_row(at, i) * SCORE_ROW + at.lane % FOURS;
}
fn lane_scores(at: Place, area: u32, i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(scores[score_at(at, area, i)]); }

fn store_weights(at: Place, area: u32, i: u32, values: vec4<f32>) {
  let first = (at.subgroup * AREAS + area) * WEIGHT_AREA + lane_row(at, i) * SCORE_ROW;
  weights[first + at.lane % FOURS] = vec2(pack2x16float(values.xy), pack2x16float(values.zw));
}

fn load_result(subgroup: u32, block: u32, column: u32) -> Result {
  let first = subgroup * AREA + block * SIDE * SCORE_ROW + 4u * column;
  return subgroupMatrixLoad<Result, row_major>(&scores, first, SCORE_ROW);
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
