// attention_backward_keys by subgroup matrices, for f16: dk and dv of attentionForward over a staircase, read by columns.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dv = p^T dout, dk = scale * ds^T q.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; stats f32 [B,H,Tq,2] (see attention_stats);
//          q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; q_lo, q_hi i32 [B|1,H|1,Tk].
//          Outputs: dk, dv [B,Tk,Hk,D] in fours, strided.
// Numbers: heads (B * Hk), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tk / TILE)).
// Grid:    heads * tiles workgroups, the first tiles first: most queries see them. A workgroup owns a tile of keys, and
//          walks along the queries of every head that shares them: no atomics.
// Set by the launcher: what attention_matrices says (AREAS 2), ACCUMULATES (dk and dv are added into). Uses: attention_matrices.
// Numerics: products of f16 summed in f32, p and ds rounded to f16; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2.
const P = 0u;
const DS = 1u;

var<workgroup> rows: array<u32, TILE>;
/** First and last query of the tile, and between which all see all its keys. */
var<workgroup> walk: vec4<u32>;
/** Of the walked queries: the logarithm of the row's sum, to base 2, and delta. */
var<workgroup> walked: array<vec2<f32>, WALK>;

fn load_own_keys(b: u32, hk: u32, at: Place) {
  for (var i = at.lane; i < OWN * PIECES; i += LANES) {
    let row = rows[at.subgroup * OWN + i / PIECES];
    let piece = i % PIECES;
    var value = vec4<u32>();
    if (row != NO_ROW && 8u * piece < args.D) { value = load_k(row_k(b, row, hk) + piece); }
    scores[at.subgroup * AREA + i / PIECES * ROW + piece] = value;
  }
}

fn load_own_values(b: u32, hk: u32, at: Place) {
  for (var i = at.lane; i < OWN * PIECES; i += LANES) {
    let row = rows[at.subgroup * OWN + i / PIECES];
    let piece = i % PIECES;
    var value = vec4<u32>();
    if (row != NO_ROW && 8u * piece < args.D) { value = load_v(row_v(b, row, hk) + piece); }
    scores[at.subgroup * AREA + i / PIECES * ROW + piece] = value;
  }
}

fn query_row(b: u32, h: u32, n: u32) -> u32 {
  if (HAS_Q_ROWS) { return u32(load_q_rows(row_q_rows(b, h) + n)); }
  return n;
}

fn load_tiles(b: u32, h: u32, n0: u32, end: u32, thread: u32) {
  for (var i = thread; i < WALK * PIECES; i += THREADS) {
    let n = n0 + i / PIECES;
    let piece = i % PIECES;
    var query = vec4<u32>();
    var gradient = vec4<u32>();
    if (n < end && 8u * piece < args.D) {
      let row = query_row(b, h, n);
      query = load_q(row_q(b, row, h) + piece);
      gradient = load_dout(row_dout(b, row, h) + piece);
    }
    let to = i / PIECES * ROW + piece;
    tiles[to] = query;
    tiles[WALK * ROW + to] = gradient;
  }
  if (thread < WALK) {
    var stats = vec2<f32>();
    if (n0 + thread < end) {
      let from_row = row_stats(b, h, query_row(b, h, n0 + thread));
      stats = vec2(load_stats(from_row), load_stats(from_row + 1u));
    }
    walked[thread] = stats;
  }
}

@compute @workgroup_size(THREADS)
fn attention_backward_keys_matrices(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let group = workgroup_number(id, groups);
  if (group >= args.heads * args.tiles) { return; }
  let m0 = group / args.heads * TILE;
  let b = group % args.heads / args.Hk;
  let hk = group % args.heads % args.Hk;
  let shared_by = args.H / args.Hk;
  let at = Place(subgroup, lane);

  // Keys and values.
  if (thread < TILE) {
    let m = m0 + thread;
    var row = NO_ROW;
    if (m < args.Tk) {
      row = m;
      if (HAS_K_ROWS) { row = u32(load_k_rows(row_k_rows(b, hk) + m)); }
    }
    rows[thread] = row;
  }
  workgroupBarrier();  // guards the rows: all are written
  load_own_keys(b, hk, at);
  workgroupBarrier();  // guards the scores: the keys stand there
  var keys: OwnRows;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      keys[block][depth] = own_at(subgroup, block, depth);
    }
  }
  workgroupBarrier();  // guards the scores: the keys have been read
  load_own_values(b, hk, at);
  workgroupBarrier();  // guards the scores: the values stand there
  var values: OwnRows;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      values[block][depth] = own_at(subgroup, block, depth);
    }
  }

  var dk: Sums;
  var dv: Sums;
  for (var h = hk * shared_by; h < (hk + 1u) * shared_by; h++) {
    // Bounds.
    if (thread == 0u) {
      let last = min(m0 + TILE, args.Tk) - 1u;
      let lo = vec2(u32(load_q_lo(row_q_lo(b, h) + m0)), u32(load_q_lo(row_q_lo(b, h) + last)));
      let hi = vec2(u32(load_q_hi(row_q_hi(b, h) + m0)), u32(load_q_hi(row_q_hi(b, h) + last)));
      walk = vec4(lo.x, hi.y, lo.y, hi.x);
    }
    let queries = workgroupUniformLoad(&walk);
    var bounds: array<vec2<u32>, LANE_ROWS>;
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      let m = m0 + subgroup * OWN + lane_row(at, i);
      if (m < args.Tk) { bounds[i] = vec2(u32(load_q_lo(row_q_lo(b, h) + m)), u32(load_q_hi(row_q_hi(b, h) + m))); }
    }

    for (var n0 = queries.x; n0 < queries.y; n0 += WALK) {
      workgroupBarrier();  // guards the tiles and, at first, the scores: products are done, the values have been read
      load_tiles(b, h, n0, queries.y, thread);
      workgroupBarrier();  // guards the tiles: they are loaded

      // Scores, and their gradients.
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        var products: array<Result, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          products[block] = Result();
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          let right = turned_at(0u, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            products[block] = subgroupMatrixMultiplyAccumulate(keys[block][depth], right, products[block]);
          }
        }
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          store_result(subgroup, P, block, column, products[block]);
        }
      }
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        var products: array<Result, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          products[block] = Result();
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          let right = turned_at(1u, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            products[block] = subgroupMatrixMultiplyAccumulate(values[block][depth], right, products[block]);
          }
        }
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          store_result(subgroup, DS, block, column, products[block]);
        }
      }
      workgroupBarrier();  // guards the scores: all are written
      let place = lane_place(at);
      let stats = array(walked[place], walked[place + 1u], walked[place + 2u], walked[place + 3u]);
      let lse_log2 = vec4(stats[0].x, stats[1].x, stats[2].x, stats[3].x);
      let delta = vec4(stats[0].y, stats[1].y, stats[2].y, stats[3].y);
      let n = vec4(n0 + place) + vec4(0u, 1u, 2u, 3u);
      let is_full = n0 >= queries.z && n0 + WALK <= queries.w;
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        var p = exp2(lane_scores(at, P, i) * args.scale_log2 - lse_log2);
        var ds = p * (lane_scores(at, DS, i) - delta);
        if (!is_full) {
          let sees = (n >= bounds[i].xxxx) & (n < bounds[i].yyyy);
          p = select(vec4<f32>(), p, sees);
          ds = select(vec4<f32>(), ds, sees);
        }
        store_weights(at, P, i, p);
        store_weights(at, DS, i, ds);
      }
      workgroupBarrier();  // guards the weights: all are written

      // Products with dout and with the queries.
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        var left: array<Left, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          left[block] = weights_at(subgroup, P, block, column);
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          let right = walked_at(1u, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            dv[block][depth] = subgroupMatrixMultiplyAccumulate(left[block], right, dv[block][depth]);
          }
        }
      }
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        var left: array<Left, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          left[block] = weights_at(subgroup, DS, block, column);
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          let right = walked_at(0u, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            dk[block][depth] = subgroupMatrixMultiplyAccumulate(left[block], right, dk[block][depth]);
          }
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
        store_result(subgroup, 0u, block, column, dk[block][depth]);
      }
    }
    workgroupBarrier();  // guards the scores: the sums stand there
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dk(b, row, hk) + d / 4u;
      var value = lane_scores(at, 0u, i) * args.scale;
      if (ACCUMULATES) { value += load_dk(to); }
      store_dk(to, value);
    }
    workgroupBarrier();  // guards the scores: those of dk have been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        store_result(subgroup, 0u, block, column, dv[block][depth]);
      }
    }
    workgroupBarrier();  // guards the scores: the sums stand there
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dv(b, row, hk) + d / 4u;
      var value = lane_scores(at, 0u, i);
      if (ACCUMULATES) { value += load_dv(to); }
      store_dv(to, value);
    }
  }
}
