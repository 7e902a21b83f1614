// product: out = epilogue(a b), a [M,K] and b [K,N] each stored as it is or transposed. The epilogue, in this order: + bias;
// what there is then is pre_gelu, and gelu is taken of it; times gelu'(slope_of); + residual.
// Inputs, in packs: a, with A_TURNED a^T [K,M]; b, with B_TURNED b^T [N,K]; bias [N], slope_of [M,N], residual [M,N], each
//          or null. Outputs, in packs: out [runs,M,N]; pre_gelu [M,N] or null. out may be residual.
// Numbers: M, N, K; runs, k_per_run (run r sums over k_per_run elements of K from r * k_per_run into out[r]); tiles_m,
//          tiles_n; a_line, b_line (packs from one stored line to the next).
// Grid:    runs * tiles_m * tiles_n workgroups of 16 x 16 threads; a workgroup owns a tile of TILE x TILE, a thread the
//          OWN x OWN squares of 4 x 4 that lie 64 apart.
// Workgroup memory: 2 * DEPTH * (TILE + 4) * 4 bytes.
// Set by the launcher: TILE (64 or 128), OWN (TILE / 64), A_TURNED, B_TURNED. Uses: pack_1 or pack_4, gelu, product_epilogue.
// Numerics: f32, summed in the order of K.
const SIDE = 16u;
const THREADS = SIDE * SIDE;
const DEPTH = 1024u / TILE;
const STRIDE = TILE / 4u + 1u;  // in quads; so that threads which write a column of a tile meet different banks

var<workgroup> tile_a: array<vec4<f32>, DEPTH * STRIDE>;  // [DEPTH][TILE]
var<workgroup> tile_b: array<vec4<f32>, DEPTH * STRIDE>;  // [DEPTH][TILE]

/** Where a thread finds its i-th pack in a tile: x along what is contiguous in memory, y from line to line. */
fn pack_place(i: u32, contiguous: u32) -> vec2<u32> {
  let packs = contiguous / WIDTH;
  return vec2(i % packs * WIDTH, i / packs);
}

/** Loads a[m0 .., k0 ..] and b[k0 .., n0 ..], zero outside; neighbouring threads read neighbours in memory. */
fn load_tiles(m0: u32, n0: u32, k0: u32, k_end: u32, thread: u32) {
  for (var i = thread; i < TILE * DEPTH / WIDTH; i += THREADS) {
    let place = pack_place(i, select(DEPTH, TILE, A_TURNED));
    let at = select(place.yx, place, A_TURNED);  // (m, k)
    var pack = Pack();
    if (m0 + at.x < args.M && k0 + at.y < k_end) {
      let line = select(m0, k0, A_TURNED) + place.y;
      pack = load_a(line * args.a_line + (select(k0, m0, A_TURNED) + place.x) / WIDTH);
    }
    for (var j = 0u; j < WIDTH; j++) {
      let m = at.x + select(0u, j, A_TURNED);
      let k = at.y + select(j, 0u, A_TURNED);
      tile_a[k * STRIDE + m / 4u][m % 4u] = part_of_pack(pack, j);
    }
  }
  for (var i = thread; i < TILE * DEPTH / WIDTH; i += THREADS) {
    let place = pack_place(i, select(TILE, DEPTH, B_TURNED));
    let at = select(place, place.yx, B_TURNED);  // (n, k)
    var pack = Pack();
    if (n0 + at.x < args.N && k0 + at.y < k_end) {
      let line = select(k0, n0, B_TURNED) + place.y;
      pack = load_b(line * args.b_line + (select(n0, k0, B_TURNED) + place.x) / WIDTH);
    }
    for (var j = 0u; j < WIDTH; j++) {
      let n = at.x + select(j, 0u, B_TURNED);
      let k = at.y + select(0u, j, B_TURNED);
      tile_b[k * STRIDE + n / 4u][n % 4u] = part_of_pack(pack, j);
    }
  }
}

/** Stores four neighbours of a row, as far as they are inside. */
fn store_quad(run: u32, m: u32, n: u32, sum: vec4<f32>) {
  if (m >= args.M) { return; }
  for (var j = 0u; j < 4u; j += WIDTH) {
    if (n + j < args.N) { store_with_epilogue(run, m, n + j, pack_of_quad(sum, j)); }
  }
}

@compute @workgroup_size(THREADS)
fn product(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let place = tile_of(workgroup_number(id, groups));
  if (place.run >= args.runs) { return; }
  let m0 = place.m * TILE;
  let n0 = place.n * TILE;
  let own_m = thread / SIDE;
  let own_n = thread % SIDE;
  let k_first = place.run * args.k_per_run;
  let k_end = min(k_first + args.k_per_run, args.K);

  var sums: array<array<vec4<f32>, OWN>, 4u * OWN>;
  for (var k0 = k_first; k0 < k_end; k0 += DEPTH) {
    workgroupBarrier();  // guards the tiles: all products of the last ones are done
    load_tiles(m0, n0, k0, k_end, thread);
    workgroupBarrier();  // guards the tiles: both are loaded
    for (var k = 0u; k < DEPTH; k++) {
      var b: array<vec4<f32>, OWN>;
      for (var j = 0u; j < OWN; j++) {  // unrolled
        b[j] = tile_b[k * STRIDE + own_n + j * SIDE];
      }
      for (var i = 0u; i < OWN; i++) {  // unrolled
        let a = tile_a[k * STRIDE + own_m + i * SIDE];
        for (var j = 0u; j < OWN; j++) {  // unrolled
          sums[4u * i][j] += a.x * b[j];
          sums[4u * i + 1u][j] += a.y * b[j];
          sums[4u * i + 2u][j] += a.z * b[j];
          sums[4u * i + 3u][j] += a.w * b[j];
        }
      }
    }
  }
  for (var i = 0u; i < OWN; i++) {  // unrolled
    for (var row = 0u; row < 4u; row++) {  // unrolled
      for (var j = 0u; j < OWN; j++) {  // unrolled
        store_quad(place.run, m0 + 4u * (own_m + i * SIDE) + row, n0 + 4u * (own_n + j * SIDE), sums[4u * i + row][j]);
      }
    }
  }
}
