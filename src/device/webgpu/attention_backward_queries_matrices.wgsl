// attention_backward_queries by subgroup matrices, for f16: dq of attentionForward over a staircase.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dq = scale * ds k.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; stats f32 [B,H,Tq,2] (see attention_stats);
//          q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; lo, hi i32 [B|1,H|1,Tq].
//          Output: dq [B,Tq,H,D] in fours, strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first; a workgroup owns a tile of queries: no atomics.
// Set by the launcher: what attention_matrices says (AREAS 1), ACCUMULATES (dq is added into). Uses: attention_matrices.
// Numerics: products of f16 summed in f32, ds rounded to f16; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2, with dq in a kernel of its own.
var<workgroup> rows: array<u32, TILE>;
var<workgroup> bounds: array<vec2<u32>, TILE>;
/** First and last key of the tile, and between which all its queries see all. */
var<workgroup> walk: vec4<u32>;

fn load_own_queries(b: u32, h: u32, at: Place) {
  for (var i = at.lane; i < OWN * PIECES; i += LANES) {
    let row = rows[at.subgroup * OWN + i / PIECES];
    let piece = i % PIECES;
    var value = vec4<u32>();
    if (row != NO_ROW && 8u * piece < args.D) { value = load_q(row_q(b, row, h) + piece); }
    scores[at.subgroup * AREA + i / PIECES * ROW + piece] = value;
  }
}

fn load_own_gradients(b: u32, h: u32, at: Place) {
  for (var i = at.lane; i < OWN * PIECES; i += LANES) {
    let row = rows[at.subgroup * OWN + i / PIECES];
    let piece = i % PIECES;
    var value = vec4<u32>();
    if (row != NO_ROW && 8u * piece < args.D) { value = load_dout(row_dout(b, row, h) + piece); }
    scores[at.subgroup * AREA + i / PIECES * ROW + piece] = value;
  }
}

fn load_tiles(b: u32, hk: u32, m0: u32, end: u32, thread: u32) {
  for (var i = thread; i < WALK * PIECES; i += THREADS) {
    let m = m0 + i / PIECES;
    let piece = i % PIECES;
    var key = vec4<u32>();
    var value = vec4<u32>();
    if (m < end && 8u * piece < args.D) {
      var row = m;
      if (HAS_K_ROWS) { row = u32(load_k_rows(row_k_rows(b, hk) + m)); }
      key = load_k(row_k(b, row, hk) + piece);
      value = load_v(row_v(b, row, hk) + piece);
    }
    let to = i / PIECES * ROW + piece;
    tiles[to] = key;
    tiles[WALK * ROW + to] = value;
  }
}

@compute @workgroup_size(THREADS)
fn attention_backward_queries_matrices(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let group = workgroup_number(id, groups);
  if (group >= args.heads * args.tiles) { return; }
  let n0 = (args.tiles - 1u - group / args.heads) * TILE;
  let b = group % args.heads / args.H;
  let h = group % args.heads % args.H;
  let hk = h * args.Hk / args.H;
  let at = Place(subgroup, lane);

  // Queries and gradients: their rows, their bounds, and the keys of the tile.
  if (thread < TILE) {
    let n = n0 + thread;
    var row = NO_ROW;
    var seen = vec2<u32>();
    if (n < args.Tq) {
      row = n;
      if (HAS_Q_ROWS) { row = u32(load_q_rows(row_q_rows(b, h) + n)); }
      seen = vec2(u32(load_lo(row_lo(b, h) + n)), u32(load_hi(row_hi(b, h) + n)));
    }
    rows[thread] = row;
    bounds[thread] = seen;
  }
  if (thread == 0u) {
    let last = min(n0 + TILE, args.Tq) - 1u;
    let lo = vec2(u32(load_lo(row_lo(b, h) + n0)), u32(load_lo(row_lo(b, h) + last)));
    let hi = vec2(u32(load_hi(row_hi(b, h) + n0)), u32(load_hi(row_hi(b, h) + last)));
    walk = vec4(lo.x, hi.y, lo.y, hi.x);
  }
  let walked = workgroupUniformLoad(&walk);
  load_own_queries(b, h, at);
  workgroupBarrier();  // guards the scores: the queries stand there
  var queries: OwnRows;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      queries[block][depth] = own_at(subgroup, block, depth);
    }
  }
  workgroupBarrier();  // guards the scores: the queries have been read
  load_own_gradients(b, h, at);
  workgroupBarrier();  // guards the scores: the gradients stand there
  var gradients: OwnRows;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      gradients[block][depth] = own_at(subgroup, block, depth);
    }
  }
  var stats: array<vec2<f32>, LANE_ROWS>;  // logarithm of the row's sum, to base 2, and delta
  for (var i = 0u; i < LANE_ROWS; i++) {
    let row = rows[subgroup * OWN + lane_row(at, i)];
    if (row == NO_ROW) { continue; }
    let from_row = row_stats(b, h, row);
    stats[i] = vec2(load_stats(from_row), load_stats(from_row + 1u));
  }

  var dq: Sums;
  for (var m0 = walked.x; m0 < walked.y; m0 += WALK) {
    workgroupBarrier();  // guards the tiles and, at first, the scores: products are done, gradients have been read
    load_tiles(b, hk, m0, walked.y, thread);
    workgroupBarrier();  // guards the tiles: they are loaded

    // Scores.
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      var products: array<Result, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        products[block] = Result();
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        let right = turned_at(0u, column, depth);
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          products[block] = subgroupMatrixMultiplyAccumulate(queries[block][depth], right, products[block]);
        }
      }
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, products[block]);
      }
    }
    workgroupBarrier();  // guards the scores: all are written
    var share: Share;
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      share[i] = exp2(lane_scores(at, 0u, i) * args.scale_log2 - stats[i].x);
    }

    // Their gradients.
    workgroupBarrier();  // guards the scores: all have been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      var products: array<Result, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        products[block] = Result();
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        let right = turned_at(1u, column, depth);
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          products[block] = subgroupMatrixMultiplyAccumulate(gradients[block][depth], right, products[block]);
        }
      }
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, products[block]);
      }
    }
    workgroupBarrier();  // guards the scores: their gradients stand there
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      share[i] *= lane_scores(at, 0u, i) - stats[i].y;
    }
    if (m0 < walked.z || m0 + WALK > walked.w) {
      let m = vec4(m0 + lane_place(at)) + vec4(0u, 1u, 2u, 3u);
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        let seen = bounds[subgroup * OWN + lane_row(at, i)];
        share[i] = select(vec4<f32>(), share[i], (m >= seen.xxxx) & (m < seen.yyyy));
      }
    }
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      store_weights(at, 0u, i, share[i]);
    }
    workgroupBarrier();  // guards the weights: all are written

    // Product with the keys.
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      var left: array<Left, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        left[block] = weights_at(subgroup, 0u, block, column);
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        let right = walked_at(0u, column, depth);
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          dq[block][depth] = subgroupMatrixMultiplyAccumulate(left[block], right, dq[block][depth]);
        }
      }
    }
  }

  // Store.
  for (var part = 0u; part < PARTS; part++) {  // unrolled
    let d = part * WALK + lane_place(at);
    workgroupBarrier();  // guards the scores: earlier ones have been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, dq[block][depth]);
      }
    }
    workgroupBarrier();  // guards the scores: the sums stand there
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dq(b, row, h) + d / 4u;
      var value = lane_scores(at, 0u, i) * args.scale;
      if (ACCUMULATES) { value += load_dq(to); }
      store_dq(to, value);
    }
  }
}
