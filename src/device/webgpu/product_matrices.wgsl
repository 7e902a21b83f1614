// product_matrices: product.wgsl's out = epilogue(a b) by matrices of subgroups, for f16 factors.
// Inputs:  a [M,K] and b [K,N] in blocks of 8 along what is contiguous: as they are stored, or with A_TURNED a^T [K,M], with
//          B_TURNED b^T [N,K]; bias [N], slope_of [M,N], residual [M,N], each in quads or null. Outputs, in quads: out
//          [runs,M,N]; pre_gelu [M,N] or null. out may be residual.
// Numbers: M, N, K; runs, k_per_run (run r sums over k_per_run elements of K from r * k_per_run into out[r]); tiles_m, tiles_n; a_line, b_line (blocks from one stored line to the next).
// Grid:    runs * tiles_m * tiles_n workgroups of GROUPS_M * GROUPS_N subgroups of 32; a workgroup owns a tile of TILE_M x
//          TILE_N, a subgroup its share of it, as matrices of 16 x 16.
// Workgroup memory: TILES * 16 bytes: the two factors' tiles, and when all is summed the subgroups' results.
// Set by the launcher: TILE_M, TILE_N, GROUPS_M, GROUPS_N, A_TURNED, B_TURNED; OWN_M, OWN_N (a subgroup's share, in
//          matrices); A_CARRIED, B_CARRIED (blocks that a thread carries from memory into the tiles).
// Uses:    pack_4, gelu, product_epilogue.
// Numerics: products of f16 are summed in f32.
const SIDE = 16u;
const DEPTH = 2u * SIDE;
const BLOCK = 8u;  // elements of 16 bytes
const SUBGROUP = 32u;
const THREADS = GROUPS_M * GROUPS_N * SUBGROUP;

// Tiles lie in lines as stored, each a block longer than it is, so that a matrix's lines meet different banks.
const A_LINES = select(TILE_M, DEPTH, A_TURNED);
const A_BLOCKS = select(DEPTH, TILE_M, A_TURNED) / BLOCK;
const A_STRIDE = A_BLOCKS + 1u;
const B_LINES = select(DEPTH, TILE_N, B_TURNED);
const B_BLOCKS = select(TILE_N, DEPTH, B_TURNED) / BLOCK;
const B_STRIDE = B_BLOCKS + 1u;
const B_START = A_LINES * A_STRIDE;

// Results leave by strips of SIDE rows of a subgroup's share, in f32: QUADS of four to a row.
const QUADS = OWN_N * SIDE / WIDTH;
const STRIP_STRIDE = QUADS + 1u;
const STRIP = SIDE * STRIP_STRIDE;
const TILES = max(B_START + B_LINES * B_STRIDE, GROUPS_M * GROUPS_N * STRIP);

alias Left = subgroup_matrix_left<f16, SIDE, SIDE>;
alias Right = subgroup_matrix_right<f16, SIDE, SIDE>;
alias Result = subgroup_matrix_result<f32, SIDE, SIDE>;

var<workgroup> tiles: array<vec4<u32>, TILES>;

struct Carried {
  a: array<vec4<u32>, A_CARRIED>,
  b: array<vec4<u32>, B_CARRIED>,
}

/** The thread's blocks of a[m0 .., k0 ..] and b[k0 .., n0 ..], zero outside. */
fn fetch(m0: u32, n0: u32, k0: u32, k_end: u32, thread: u32) -> Carried {
  var carried: Carried;
  for (var i = 0u; i < A_CARRIED; i++) {  // unrolled
    let at = thread + i * THREADS;
    let line = at / A_BLOCKS + select(m0, k0, A_TURNED);
    let block = at % A_BLOCKS + select(k0, m0, A_TURNED) / BLOCK;
    if (line < select(args.M, k_end, A_TURNED) && block * BLOCK < select(k_end, args.M, A_TURNED)) {
      carried.a[i] = load_a(line * args.a_line + block);
    }
  }
  for (var i = 0u; i < B_CARRIED; i++) {  // unrolled
    let at = thread + i * THREADS;
    let line = at / B_BLOCKS + select(k0, n0, B_TURNED);
    let block = at % B_BLOCKS + select(n0, k0, B_TURNED) / BLOCK;
    if (line < select(k_end, args.N, B_TURNED) && block * BLOCK < select(args.N, k_end, B_TURNED)) {
      carried.b[i] = load_b(line * args.b_line + block);
    }
  }
  return carried;
}

fn put(carried: ptr<function, Carried>, thread: u32) {
  for (var i = 0u; i < A_CARRIED; i++) {  // unrolled
    let at = thread + i * THREADS;
    tiles[at / A_BLOCKS * A_STRIDE + at % A_BLOCKS] = (*carried).a[i];
  }
  for (var i = 0u; i < B_CARRIED; i++) {  // unrolled
    let at = thread + i * THREADS;
    tiles[B_START + at / B_BLOCKS * B_STRIDE + at % B_BLOCKS] = (*carried).b[i];
  }
}

fn left_at(m: u32, k: u32) -> Left {
  if (A_TURNED) {
    return subgroupMatrixLoad<Left, col_major>(&tiles, k * A_STRIDE + m / BLOCK, A_STRIDE);
  }
  return subgroupMatrixLoad<Left, row_major>(&tiles, m * A_STRIDE + k / BLOCK, A_STRIDE);
}

fn right_at(k: u32, n: u32) -> Right {
  if (B_TURNED) {
    return subgroupMatrixLoad<Right, col_major>(&tiles, B_START + n * B_STRIDE + k / BLOCK, B_STRIDE);
  }
  return subgroupMatrixLoad<Right, row_major>(&tiles, B_START + k * B_STRIDE + n / BLOCK, B_STRIDE);
}

@compute @workgroup_size(THREADS)
fn product_matrices(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let place = tile_of(workgroup_number(id, groups));
  if (place.run >= args.runs) { return; }
  let m0 = place.m * TILE_M;
  let n0 = place.n * TILE_N;
  let own_m = subgroup / GROUPS_N * (OWN_M * SIDE);
  let own_n = subgroup % GROUPS_N * (OWN_N * SIDE);

  var sums: array<array<Result, OWN_N>, OWN_M>;
  let k_first = place.run * args.k_per_run;
  let k_end = min(k_first + args.k_per_run, args.K);
  var next = fetch(m0, n0, k_first, k_end, thread);
  for (var k0 = k_first; k0 < k_end; k0 += DEPTH) {
    workgroupBarrier();  // guards the tiles: all products of the last ones are done
    put(&next, thread);
    workgroupBarrier();  // guards the tiles: both are written
    if (k0 + DEPTH < k_end) { next = fetch(m0, n0, k0 + DEPTH, k_end, thread); }
    for (var step = 0u; step < 2u; step++) {  // unrolled
      let k = step * SIDE;
      var left: array<Left, OWN_M>;
      for (var i = 0u; i < OWN_M; i++) {  // unrolled
        left[i] = left_at(own_m + i * SIDE, k);
      }
      for (var j = 0u; j < OWN_N; j++) {  // unrolled
        let right = right_at(k, own_n + j * SIDE);
        for (var i = 0u; i < OWN_M; i++) {  // unrolled
          sums[i][j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i][j]);
        }
      }
    }
  }

  let strip = subgroup * STRIP;
  let lane = thread % SUBGROUP;
  for (var i = 0u; i < OWN_M; i++) {  // unrolled
    workgroupBarrier();  // guards the tiles: the products, or the last strips, have been read
    for (var j = 0u; j < OWN_N; j++) {  // unrolled
      subgroupMatrixStore<row_major>(&tiles, strip + j * (SIDE / WIDTH), sums[i][j], STRIP_STRIDE);
    }
    workgroupBarrier();  // guards the strips: all are written
    for (var at = lane; at < SIDE * QUADS; at += SUBGROUP) {
      let m = m0 + own_m + i * SIDE + at / QUADS;
      let n = n0 + own_n + at % QUADS * WIDTH;
      let sum = bitcast<vec4<f32>>(tiles[strip + at / QUADS * STRIP_STRIDE + at % QUADS]);
      if (m < args.M && n < args.N) { store_with_epilogue(place.run, m, n, sum); }
    }
  }
}
