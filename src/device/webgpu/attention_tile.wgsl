// What the attention kernels for all types and GPUs share: a workgroup of 16 x 16 threads on tiles of TILE own rows by TILE
// rows of the other side, along which it walks. Thread (x, y) owns the rows from 4y by the columns from 4x, a matrix of
// 4 x 4 whose i-th vector is row 4y + i. All products are sums of outer products, over CHUNK features or CHUNK walked rows
// at a time: a vector of four of `left` by one of `right`.
// The kernel tells own_quad(which, b, h, row, d) and walked_quad(...): four features from d of a row of one of its tensors.
// Constants: CHUNK (16, or 32 where workgroup memory allows), CHUNKS (of D), SPANS (of D, TILE features each), PARTS (of
// TILE, CHUNK rows each).
// Workgroup memory: 2 * CHUNK * SIDE * 16 + 2 * TILE * 4 + 12 bytes.
const TILE = 64u;
const SIDE = 16u;
const THREADS = SIDE * SIDE;
const NO_ROW = 0xffffffffu;

var<workgroup> left: array<vec4<f32>, CHUNK * SIDE>;
var<workgroup> right: array<vec4<f32>, CHUNK * SIDE>;
/** Which row of its tensor stands at each place of a tile; NO_ROW outside. */
var<workgroup> own_rows: array<u32, TILE>;
var<workgroup> walked_rows: array<u32, TILE>;
/** What the workgroup walks along: the same for all, so that barriers may stand inside. */
var<workgroup> walk: vec2<u32>;

/** Own rows, features from d0: left[d] holds feature d of four rows each. */
fn load_left(which: u32, b: u32, h: u32, d0: u32, thread: u32) {
  for (var i = thread; i < SIDE * CHUNK / 4u; i += THREADS) {
    let four = i % SIDE;
    let d = i / SIDE * 4u;
    var rows: mat4x4<f32>;
    for (var j = 0u; j < 4u; j++) { rows[j] = own_quad(which, b, h, own_rows[4u * four + j], d0 + d); }
    let turned = transpose(rows);
    for (var j = 0u; j < 4u; j++) { left[(d + j) * SIDE + four] = turned[j]; }
  }
}

/** Walked rows, features from d0: right[d] holds feature d of four rows each. */
fn load_right_turned(which: u32, b: u32, h: u32, d0: u32, thread: u32) {
  for (var i = thread; i < SIDE * CHUNK / 4u; i += THREADS) {
    let four = i % SIDE;
    let d = i / SIDE * 4u;
    var rows: mat4x4<f32>;
    for (var j = 0u; j < 4u; j++) { rows[j] = walked_quad(which, b, h, walked_rows[4u * four + j], d0 + d); }
    let turned = transpose(rows);
    for (var j = 0u; j < 4u; j++) { right[(d + j) * SIDE + four] = turned[j]; }
  }
}

/** Walked rows from place n0 of the tile, TILE features from d0: right[n] holds four features of row n each. */
fn load_right(which: u32, b: u32, h: u32, n0: u32, d0: u32, thread: u32) {
  for (var i = thread; i < SIDE * CHUNK; i += THREADS) {
    right[i] = walked_quad(which, b, h, walked_rows[n0 + i / SIDE], d0 + 4u * (i % SIDE));
  }
}

/** The thread's share of weights, if it lies between places n0 and n0 + CHUNK: left[n] holds four own rows' each. */
fn store_weights(values: mat4x4<f32>, n0: u32, x: u32, y: u32) {
  if (4u * x < n0 || 4u * x >= n0 + CHUNK) { return; }
  let turned = transpose(values);
  for (var j = 0u; j < 4u; j++) { left[(4u * x - n0 + j) * SIDE + y] = turned[j]; }
}

/** Adds the products over a chunk, one after the other, as attention_delta.wgsl adds. */
fn with_products(sums: mat4x4<f32>, x: u32, y: u32) -> mat4x4<f32> {
  var row0 = sums[0];
  var row1 = sums[1];
  var row2 = sums[2];
  var row3 = sums[3];
  for (var i = 0u; i < CHUNK; i++) {
    let a = left[i * SIDE + y];
    let b = right[i * SIDE + x];
    row0 = fma(a.xxxx, b, row0);
    row1 = fma(a.yyyy, b, row1);
    row2 = fma(a.zzzz, b, row2);
    row3 = fma(a.wwww, b, row3);
  }
  return mat4x4(row0, row1, row2, row3);
}

/** Own rows by walked rows, over all features. */
fn dots(own: u32, own_head: u32, walked: u32, walked_head: u32, b: u32, thread: u32) -> mat4x4<f32> {
  var sums: mat4x4<f32>;
  for (var chunk = 0u; chunk < CHUNKS; chunk++) {
    workgroupBarrier();  // guards the chunks and the rows: products are done, rows are written
    load_left(own, b, own_head, chunk * CHUNK, thread);
    load_right_turned(walked, b, walked_head, chunk * CHUNK, thread);
    workgroupBarrier();  // guards the chunks: both are loaded
    sums = with_products(sums, thread % SIDE, thread / SIDE);
  }
  return sums;
}

/** Which of the four places from `place` lie in lo <= place < hi. */
fn sees(place: u32, lo: u32, hi: u32) -> vec4<bool> {
  let places = vec4(place) + vec4(0u, 1u, 2u, 3u);
  return (places >= vec4(lo)) & (places < vec4(hi));
}
