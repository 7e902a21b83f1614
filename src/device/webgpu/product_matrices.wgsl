// product_matrices: product.wgsl's out = epilogue(a b) by matrices of subgroups, for f16 factors.
// Inputs:  a [M,K] and b [K,N] in blocks of 8 along what is contiguous: as they are stored, or with A_TURNED a^T [K,M], with
//          B_TURNED b^T [N,K]; bias [N], slope_of [M,N], residual [M,N], each in quads or null. Outputs, in quads: out
//          [runs,M,N]; pre_gelu [M,N] or null. out may be residual.
// Numbers: M, N, K; runs, k_per_run (run r sums over k_per_run elements of K from r * k_per_run into out[r]); tiles_m, tiles_n; a_line, b_line (blocks from one stored line to the next).
// Grid:    runs * tiles_m * tiles_n workgroups of GROUPS_M * GROUPS_N subgroups of 32; a workgroup owns a tile of TILE_M x
//          TILE_N, a subgroup its share of it, as matrices of 16 x 16.
// Workgroup memory: TILES * 16 bytes: the two factors' tiles, and when all is summed the subgroups' results.
// Set by the launcher: TILE_M, TILE_N, GROUPS_M, GROUPS_N, A_TURNED, B_TURNED; OWN_M, OWN_N (a subgroup's share, in
//          matrices); A_CARRIED, B_CARRIED (blocks that a thread carries from memory into the tiles); BUFFERS (2: the next
//          step's tiles are written while this step's are read); WHOLE_STEPS (every run's K is a multiple of DEPTH).
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
const BUFFER = B_START + B_LINES * B_STRIDE;
const TILES = max(BUFFERS * BUFFER, GROUPS_M * GROUPS_N * STRIP);

alias Left = subgroup_matrix_left<f16, SIDE, SIDE>;
alias Right = subgroup_matrix_right<f16, SIDE, SIDE>;
alias Result = subgroup_matrix_result<f32, SIDE, SIDE>;

var<workgroup> tiles: array<vec4<u32>, TILES>;

// What a thread carries: the same block of every A_APART-th line of a, and of every B_APART-th of b.
const A_APART = THREADS / A_BLOCKS;
const B_APART = THREADS / B_BLOCKS;

struct Carried {
  a: array<vec4<u32>, A_CARRIED>,
  b: array<vec4<u32>, B_CARRIED>,
}

/** Where the carried blocks lie at the first K, and how far it is to the next step's. */
struct Source {
  a: array<u32, A_CARRIED>,
  b: array<u32, B_CARRIED>,
  a_step: u32,
  b_step: u32,
}

/** Places outside of M and N are moved to the last inside: what comes of them is not stored. */
fn source_of(m0: u32, n0: u32, k_first: u32, thread: u32) -> Source {
  var source: Source;
  source.a_step = select(DEPTH / BLOCK, DEPTH * args.a_line, A_TURNED);
  source.b_step = select(DEPTH * args.b_line, DEPTH / BLOCK, B_TURNED);
  for (var i = 0u; i < A_CARRIED; i++) {  // unrolled
    let line = thread / A_BLOCKS + i * A_APART;
    let block = thread % A_BLOCKS;
    if (A_TURNED) {
      source.a[i] = (k_first + line) * args.a_line + min(m0 / BLOCK + block, args.M / BLOCK - 1u);
    } else {
      source.a[i] = min(m0 + line, args.M - 1u) * args.a_line + k_first / BLOCK + block;
    }
  }
  for (var i = 0u; i < B_CARRIED; i++) {  // unrolled
    let line = thread / B_BLOCKS + i * B_APART;
    let block = thread % B_BLOCKS;
    if (B_TURNED) {
      source.b[i] = min(n0 + line, args.N - 1u) * args.b_line + k_first / BLOCK + block;
    } else {
      source.b[i] = (k_first + line) * args.b_line + min(n0 / BLOCK + block, args.N / BLOCK - 1u);
    }
  }
  return source;
}

/** The thread's blocks of a step. Beyond the last K, where the step is not whole, they are zero. */
fn fetch(source: ptr<function, Source>, step: u32, k_left: u32, thread: u32) -> Carried {
  var carried: Carried;
  for (var i = 0u; i < A_CARRIED; i++) {  // unrolled
    let k = select(thread % A_BLOCKS * BLOCK, thread / A_BLOCKS + i * A_APART, A_TURNED);
    if (WHOLE_STEPS || k < k_left) { carried.a[i] = load_a((*source).a[i] + step * (*source).a_step); }
  }
  for (var i = 0u; i < B_CARRIED; i++) {  // unrolled
    let k = select(thread / B_BLOCKS + i * B_APART, thread % B_BLOCKS * BLOCK, B_TURNED);
    if (WHOLE_STEPS || k < k_left) { carried.b[i] = load_b((*source).b[i] + step * (*source).b_step); }
  }
  return carried;
}

fn put(carried: ptr<function, Carried>, buffer: u32, thread: u32) {
  let a = buffer + thread / A_BLOCKS * A_STRIDE + thread % A_BLOCKS;
  for (var i = 0u; i < A_CARRIED; i++) {  // unrolled
    tiles[a + i * A_APART * A_STRIDE] = (*carried).a[i];
  }
  let b = buffer + B_START + thread / B_BLOCKS * B_STRIDE + thread % B_BLOCKS;
  for (var i = 0u; i < B_CARRIED; i++) {  // unrolled
    tiles[b + i * B_APART * B_STRIDE] = (*carried).b[i];
  }
}

fn left_at(buffer: u32, m: u32, k: u32) -> Left {
  if (A_TURNED) {
    return subgroupMatrixLoad<Left, col_major>(&tiles, buffer + k * A_STRIDE + m / BLOCK, A_STRIDE);
  }
  return subgroupMatrixLoad<Left, row_major>(&tiles, buffer + m * A_STRIDE + k / BLOCK, A_STRIDE);
}

fn right_at(buffer: u32, k: u32, n: u32) -> Right {
  if (B_TURNED) {
    return subgroupMatrixLoad<Right, col_major>(&tiles, buffer + B_START + n * B_STRIDE + k / BLOCK, B_STRIDE);
  }
  return subgroupMatrixLoad<Right, row_major>(&tiles, buffer + B_START + k * B_STRIDE + n / BLOCK, B_STRIDE);
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
  var source = source_of(m0, n0, k_first, thread);
  let steps = (k_end - k_first + DEPTH - 1u) / DEPTH;
  var next: Carried;
  if (steps > 0u) {
    next = fetch(&source, 0u, k_end - k_first, thread);
    put(&next, 0u, thread);
  }
  for (var step = 0u; step < steps; step++) {
    let buffer = step % BUFFERS * BUFFER;
    let is_last = step + 1u == steps;
    workgroupBarrier();  // guards this step's tiles: both are written; and the other buffer's: they have been read
    if (!is_last) { next = fetch(&source, step + 1u, k_end - k_first - (step + 1u) * DEPTH, thread); }
    for (var part = 0u; part < 2u; part++) {  // unrolled
      let k = part * SIDE;
      var left: array<Left, OWN_M>;
      for (var i = 0u; i < OWN_M; i++) {  // unrolled
        left[i] = left_at(buffer, own_m + i * SIDE, k);
      }
      for (var j = 0u; j < OWN_N; j++) {  // unrolled
        let right = right_at(buffer, k, own_n + j * SIDE);
        for (var i = 0u; i < OWN_M; i++) {  // unrolled
          sums[i][j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i][j]);
        }
      }
    }
    if (BUFFERS == 1u) { workgroupBarrier(); }  // guards the tiles: all products of this step are done
    if (!is_last) { put(&next, (step + 1u) % BUFFERS * BUFFER, thread); }
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
