// What the attention kernels share: a workgroup of 16 x 16 threads on tiles of TILE rows of the left side (which it owns)
// by TILE rows of the right side (which it walks along), in chunks of CHUNK features. A thread owns the rows y and y + 16
// by the columns x and x + 16, as a vec4: (y, x), (y, x + 16), (y + 16, x), (y + 16, x + 16).
// Numbers: D. Constants: CHUNKS (ceil(D / CHUNK)).
const TILE = 32u;
const SIDE = 16u;
const THREADS = SIDE * SIDE;
const CHUNK = 32u;
const STRIDE = CHUNK + 1u;  // so that threads which read a column meet different banks
const NO_ROW = 0xffffffffu;
const LOG2_E = 1.4426950408889634;
const LN_2 = 0.6931471805599453;

var<workgroup> left: array<f32, TILE * STRIDE>;
var<workgroup> right: array<f32, TILE * STRIDE>;
var<workgroup> weights: array<f32, TILE * STRIDE>;
/** Which row of its tensor stands at each place of a tile; NO_ROW outside. */
var<workgroup> left_rows: array<u32, TILE>;
var<workgroup> right_rows: array<u32, TILE>;
/** What the workgroup walks along: the same for all, so that barriers may stand inside. */
var<workgroup> walk: vec2<u32>;

/** Products of the thread's rows and columns over this chunk; attention_delta.wgsl adds in the same order. */
fn dot_chunk(x: u32, y: u32) -> vec4<f32> {
  var sums = vec4<f32>();
  for (var d = 0u; d < CHUNK; d++) {
    let a = vec2(left[y * STRIDE + d], left[(y + SIDE) * STRIDE + d]);
    let b = vec2(right[x * STRIDE + d], right[(x + SIDE) * STRIDE + d]);
    sums = fma(a.xxyy, b.xyxy, sums);
  }
  return sums;
}

/** Sums over the right rows, by `weights`, of the thread's features x and x + 16 of this chunk. */
fn weighted_chunk(x: u32, y: u32) -> vec4<f32> {
  var sums = vec4<f32>();
  for (var n = 0u; n < TILE; n++) {
    let a = vec2(weights[y * STRIDE + n], weights[(y + SIDE) * STRIDE + n]);
    let b = vec2(right[n * STRIDE + x], right[n * STRIDE + x + SIDE]);
    sums += a.xxyy * b.xyxy;
  }
  return sums;
}

fn store_weights(x: u32, y: u32, values: vec4<f32>) {
  weights[y * STRIDE + x] = values.x;
  weights[y * STRIDE + x + SIDE] = values.y;
  weights[(y + SIDE) * STRIDE + x] = values.z;
  weights[(y + SIDE) * STRIDE + x + SIDE] = values.w;
}
