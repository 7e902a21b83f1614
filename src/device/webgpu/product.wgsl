// product: out = epilogue(a b), a [M,K] and b [K,N] each stored as it is or transposed. The epilogue, in this order: + bias;
// what there is then is pre_gelu, and gelu is taken of it; times gelu'(slope_of); + residual.
// Inputs:  a, b; bias [N], slope_of [M,N], residual [M,N], each or null. Outputs: out [M,N]; pre_gelu [M,N] or null.
//          out may be residual.
// Numbers: M, N, K; a_m, a_k, b_k, b_n: elements between neighbours; tiles_n (ceil(N / TILE)).
// Grid:    ceil(M / TILE) * tiles_n workgroups of 16 x 16 threads; a workgroup owns a tile of TILE x TILE, a thread the
//          OWN x OWN elements that lie 16 apart.
// Workgroup memory: 2 * DEPTH * (TILE + 1) * 4 bytes.
// Uses:    gelu.
// Numerics: f32, summed in the order of K.
const TILE = 64u;
const DEPTH = 16u;
const SIDE = 16u;
const OWN = 4u;
const THREADS = SIDE * SIDE;
const STRIDE = TILE + 1u;  // so that threads which write a column of a tile meet different banks

var<workgroup> tile_a: array<f32, DEPTH * STRIDE>;  // [DEPTH][TILE]
var<workgroup> tile_b: array<f32, DEPTH * STRIDE>;  // [DEPTH][TILE]

/** Loads a[m0 .., k0 ..] and b[k0 .., n0 ..], zero outside; neighbouring threads read neighbours in memory. */
fn load_tiles(m0: u32, n0: u32, k0: u32, thread: u32) {
  for (var i = thread; i < TILE * DEPTH; i += THREADS) {
    let k = select(i / TILE, i % DEPTH, args.a_k == 1u);
    let m = select(i % TILE, i / DEPTH, args.a_k == 1u);
    var value = 0.0;
    if (m0 + m < args.M && k0 + k < args.K) { value = load_a((m0 + m) * args.a_m + (k0 + k) * args.a_k); }
    tile_a[k * STRIDE + m] = value;
  }
  for (var i = thread; i < TILE * DEPTH; i += THREADS) {
    let k = select(i % DEPTH, i / TILE, args.b_n == 1u);
    let n = select(i / DEPTH, i % TILE, args.b_n == 1u);
    var value = 0.0;
    if (n0 + n < args.N && k0 + k < args.K) { value = load_b((k0 + k) * args.b_k + (n0 + n) * args.b_n); }
    tile_b[k * STRIDE + n] = value;
  }
}

fn store_with_epilogue(m: u32, n: u32, product: f32) {
  let place = m * args.N + n;
  var value = product;
  if (HAS_BIAS) { value += load_bias(n); }
  if (HAS_PRE_GELU) {
    store_pre_gelu(place, value);
    value = gelu(value);
  }
  if (HAS_SLOPE_OF) { value *= gelu_slope(load_slope_of(place)); }
  if (HAS_RESIDUAL) { value += load_residual(place); }
  store_out(place, value);
}

@compute @workgroup_size(THREADS)
fn product(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = workgroup_number(id, groups);
  let m0 = group / args.tiles_n * TILE;
  let n0 = group % args.tiles_n * TILE;
  let own_m = thread / SIDE;
  let own_n = thread % SIDE;
  var sums: array<vec4<f32>, OWN>;
  for (var k0 = 0u; k0 < args.K; k0 += DEPTH) {
    workgroupBarrier();  // guards the tiles: all products of the last ones are done
    load_tiles(m0, n0, k0, thread);
    workgroupBarrier();  // guards the tiles: both are loaded
    for (var k = 0u; k < DEPTH; k++) {
      let at_b = k * STRIDE + own_n;
      let b = vec4(tile_b[at_b], tile_b[at_b + SIDE], tile_b[at_b + 2u * SIDE], tile_b[at_b + 3u * SIDE]);
      for (var i = 0u; i < OWN; i++) { sums[i] += tile_a[k * STRIDE + own_m + i * SIDE] * b; }
    }
  }
  for (var i = 0u; i < OWN; i++) {
    for (var j = 0u; j < OWN; j++) {
      let m = m0 + own_m + i * SIDE;
      let n = n0 + own_n + j * SIDE;
      if (m < args.M && n < args.N) { store_with_epilogue(m, n, sums[i][j]); }
    }
  }
}
