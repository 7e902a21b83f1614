// attentionForward by subgroup matrices, for f16: o = softmax(scale * q k^T over the visible keys) v, over a staircase.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk],
//          null for the identity; lo, hi i32 [B|1,H|1,Tq]. Outputs: o [B,Tq,H,D] in fours, lse [B,H,Tq], strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale_log2 (scale * log2 e), minus_infinity, tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first: they see the most keys. A workgroup owns a tile of queries.
// Set by the launcher: what attention_matrices says (AREAS 1), MERGES. Uses: attention_matrices, attention_share.
// Numerics: products of f16 summed in f32, weights rounded to f16. Sums cannot be scaled where they are, and seldom need
//          to be: a row's weights are relative to the largest score when its sums were last scaled, and until one would
//          exceed 2^GROWTH they stay. What is masked weighs 0, so that a row which sees nothing gives o = 0,
//          lse = -Infinity and never NaN.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 1; the late scaling is FlashAttention-4's.
/** Where rows' largest scores begin; what is masked lies far below. */
const LOWEST = -1e30;
const MASKED = -2e30;
const GROWTH = 8.0;

var<workgroup> rows: array<u32, TILE>;
var<workgroup> bounds: array<vec2<u32>, TILE>;
/** First and last key of the tile, and between which all its queries see all. */
var<workgroup> walk: vec4<u32>;
/** Whether some row's weights would grow too large. */
var<workgroup> grows: atomic<u32>;

fn q_piece(b: u32, h: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  return load_q(row_q(b, row, h) + piece);
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
fn attention_forward_matrices(
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

  // Queries: their rows, their bounds, and the keys of the tile.
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
  let keys = workgroupUniformLoad(&walk);
  for (var i = lane; i < OWN * PIECES; i += LANES) {
    let row = i / PIECES;
    scores[subgroup * AREA + row * ROW + i % PIECES] = q_piece(b, h, rows[subgroup * OWN + row], i % PIECES);
  }
  workgroupBarrier();  // guards the scores: the queries stand there
  var own: OwnRows;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      own[block][depth] = own_at(subgroup, block, depth);
    }
  }

  var sums: Sums;
  var most: array<f32, LANE_ROWS>;
  var total: array<f32, LANE_ROWS>;  // the lane's part
  for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
    most[i] = LOWEST;
  }
  for (var m0 = keys.x; m0 < keys.y; m0 += WALK) {
    workgroupBarrier();  // guards the tiles and, at first, the scores: products are done, the queries have been read
    load_tiles(b, hk, m0, keys.y, thread);
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
          products[block] = subgroupMatrixMultiplyAccumulate(own[block][depth], right, products[block]);
        }
      }
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, products[block]);
      }
    }
    workgroupBarrier();  // guards the scores: all are written
    var share: Share;
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      share[i] = lane_scores(at, 0u, i) * args.scale_log2;
    }
    if (m0 < keys.z || m0 + WALK > keys.w) {
      let m = vec4(m0 + lane_place(at)) + vec4(0u, 1u, 2u, 3u);
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        let seen = bounds[subgroup * OWN + lane_row(at, i)];
        share[i] = select(vec4(MASKED), share[i], (m >= seen.xxxx) & (m < seen.yyyy));
      }
    }

    // Online softmax.
    var excess = MASKED;
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      excess = max(excess, largest_of_four(share[i]) - most[i]);
    }
    if (excess > GROWTH) { atomicStore(&grows, 1u); }
    if (workgroupUniformLoad(&grows) != 0u) {
      var fade: array<f32, LANE_ROWS>;
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        let larger = max(most[i], largest_of_row(largest_of_four(share[i])));
        fade[i] = exp2(most[i] - larger);
        most[i] = larger;
        total[i] *= fade[i];
      }
      for (var part = 0u; part < PARTS; part++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          const depth = min(part * COLUMNS + column, DEPTH - 1u);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            store_result(subgroup, 0u, block, column, sums[block][depth]);
          }
        }
        workgroupBarrier();  // guards the scores: the sums stand there
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          let place = score_at(at, 0u, i);
          scores[place] = bitcast<vec4<u32>>(bitcast<vec4<f32>>(scores[place]) * fade[i]);
        }
        workgroupBarrier();  // guards the scores: the sums are scaled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          const depth = min(part * COLUMNS + column, DEPTH - 1u);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            sums[block][depth] = load_result(subgroup, block, column);
          }
        }
        workgroupBarrier();  // guards the scores: the sums have been read
      }
      if (thread == 0u) { atomicStore(&grows, 0u); }
    }
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      let four = exp2(share[i] - most[i]);
      total[i] += (four.x + four.y) + (four.z + four.w);
      store_weights(at, 0u, i, four);
    }
    workgroupBarrier();  // guards the weights: all are written

    // Product with the values.
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      var left: array<Left, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        left[block] = weights_at(subgroup, 0u, block, column);
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        let right = walked_at(1u, column, depth);
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          sums[block][depth] = subgroupMatrixMultiplyAccumulate(left[block], right, sums[block][depth]);
        }
      }
    }
  }

  // Store.
  var results: array<RowShare, LANE_ROWS>;
  for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
    let sum = sum_of_row(total[i]);
    let row = rows[subgroup * OWN + lane_row(at, i)];
    if (row != NO_ROW) { results[i] = share_of(row_lse(b, h) + row, most[i], sum); }
  }
  for (var part = 0u; part < PARTS; part++) {  // unrolled
    workgroupBarrier();  // guards the scores: earlier ones have been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, sums[block][depth]);
      }
    }
    workgroupBarrier();  // guards the scores: the sums stand there
    let d = part * WALK + lane_place(at);
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_o(b, row, h) + d / 4u;
      var value = lane_scores(at, 0u, i) * results[i].own;
      if (MERGES && results[i].old > 0.0) { value += load_o(to) * results[i].old; }
      store_o(to, value);
    }
  }
  storageBarrier();
  workgroupBarrier();  // guards lse: all lanes of a row have read the old one
  if (lane % FOURS > 0u) { return; }
  for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
    let row = rows[subgroup * OWN + lane_row(at, i)];
    if (row != NO_ROW) { store_lse(row_lse(b, h) + row, results[i].lse); }
  }
}
