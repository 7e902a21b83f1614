// attention_backward_keys by subgroup matrices, for f16: dk and dv of attentionForward over a staircase, read by columns.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dv = p^T dout, dk = scale * ds^T q.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; stats f32 [B,H,Tq,2] (see attention_stats);
//          q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; q_lo, q_hi i32 [B|1,H|1,Tk].
//          Outputs: dk, dv [B,Tk,Hk,D] in fours, strided.
// Numbers: heads (B * Hk), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tk / TILE)).
// Grid:    heads * tiles workgroups, the first tiles first: most queries see them. A workgroup owns a tile of keys, and
//          walks along the queries of every head that shares them: no atomics.
// Set by the launcher: what attention_matrices says (BLOCKS 1, TILES and AREAS 2), ACCUMULATES (dk and dv are added into). Uses: attention_matrices.
// Numerics: products of f16 summed in f32, p and ds rounded to f16; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2.
/** Which tile is which, and which weights. */
const Q = 0u;
const DOUT = 1u;
const P = 0u;
const DS = 1u;

var<workgroup> rows: array<u32, TILE>;
/** First and last query of the tile, and between which all see all its keys. */
var<workgroup> walk: vec4<u32>;
/** Of the walked queries: the logarithm of the row's sum, to base 2, and delta. */
var<workgroup> walked: array<vec2<f32>, WALK>;

fn k_piece(b: u32, hk: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  return load_k(row_k(b, row, hk) + piece);
}

fn v_piece(b: u32, hk: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  return load_v(row_v(b, row, hk) + piece);
}

fn query_row(b: u32, h: u32, n: u32) -> u32 {
  if (HAS_Q_ROWS) { return u32(load_q_rows(row_q_rows(b, h) + n)); }
  return n;
}

/** The thread's share of the queries from n0 on. Beyond the last query stands the last, which is masked there. */
fn fetch_queries(b: u32, h: u32, n0: u32, end: u32, thread: u32) -> Carried {
  var carried: Carried;
  let line = row_q(0u, 1u, 0u) - row_q(0u, 0u, 0u);
  for (var i = 0u; i < CARRIED; i++) {  // unrolled
    let piece = carried_piece(i, thread);
    let row = query_row(b, h, min(n0 + carried_row(i, thread), end - 1u));
    if (WHOLE_ROWS || 8u * piece < args.D) { carried[i] = load_q(row_q(b, 0u, h) + piece + row * line); }
  }
  return carried;
}

/** Likewise, of the gradients of their outputs. */
fn fetch_gradients(b: u32, h: u32, n0: u32, end: u32, thread: u32) -> Carried {
  var carried: Carried;
  let line = row_dout(0u, 1u, 0u) - row_dout(0u, 0u, 0u);
  for (var i = 0u; i < CARRIED; i++) {  // unrolled
    let piece = carried_piece(i, thread);
    let row = query_row(b, h, min(n0 + carried_row(i, thread), end - 1u));
    if (WHOLE_ROWS || 8u * piece < args.D) { carried[i] = load_dout(row_dout(b, 0u, h) + piece + row * line); }
  }
  return carried;
}

/** Likewise, of what is known of the queries. */
fn fetch_stats(b: u32, h: u32, n0: u32, end: u32, thread: u32) -> vec2<f32> {
  let from_row = row_stats(b, h, query_row(b, h, min(n0 + thread % WALK, end - 1u)));
  return vec2(load_stats(from_row) * LOG2_E, load_stats(from_row + 1u));
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
  for (var i = lane; i < SIDE * PIECES; i += LANES) {
    let row = rows[subgroup * OWN + i / PIECES];
    scores[subgroup * AREA + i / PIECES * ROW + i % PIECES] = k_piece(b, hk, row, i % PIECES);
  }
  workgroupBarrier();  // guards the areas: keys stand there
  var keys: OwnRows;
  for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
    keys[depth] = own_at(subgroup, depth);
  }
  workgroupBarrier();  // guards the areas: keys have been read
  for (var i = lane; i < SIDE * PIECES; i += LANES) {
    let row = rows[subgroup * OWN + i / PIECES];
    scores[subgroup * AREA + i / PIECES * ROW + i % PIECES] = v_piece(b, hk, row, i % PIECES);
  }
  workgroupBarrier();  // guards the areas: values stand there
  var values: OwnRows;
  for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
    values[depth] = own_at(subgroup, depth);
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

    var next_queries: Carried;
    var next_gradients: Carried;
    var next_stats: vec2<f32>;
    if (queries.x < queries.y) {
      next_queries = fetch_queries(b, h, queries.x, queries.y, thread);
      next_gradients = fetch_gradients(b, h, queries.x, queries.y, thread);
      next_stats = fetch_stats(b, h, queries.x, queries.y, thread);
    }
    for (var n0 = queries.x; n0 < queries.y; n0 += WALK) {
      workgroupBarrier();  // guards the tiles and the areas: products are done, the values have been read
      put(&next_queries, Q, thread);
      put(&next_gradients, DOUT, thread);
      if (thread < WALK) { walked[thread] = next_stats; }
      if (n0 + WALK < queries.y) {
        next_queries = fetch_queries(b, h, n0 + WALK, queries.y, thread);
        next_gradients = fetch_gradients(b, h, n0 + WALK, queries.y, thread);
        next_stats = fetch_stats(b, h, n0 + WALK, queries.y, thread);
      }
      workgroupBarrier();  // guards the tiles: queries and gradients stand there
      {
        var products: Scores;
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          products[column] = Result();
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          for (var column = 0u; column < COLUMNS; column++) {  // unrolled
            products[column] = subgroupMatrixMultiplyAccumulate(values[depth], turned_at(DOUT, column, depth), products[column]);
          }
        }
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          store_result(subgroup, column, products[column]);
        }
      }
      workgroupBarrier();  // guards the areas: the scores' gradients stand there
      let place = lane_place(at);
      let stats = array(walked[place], walked[place + 1u], walked[place + 2u], walked[place + 3u]);
      let lse_log2 = vec4(stats[0].x, stats[1].x, stats[2].x, stats[3].x);
      let delta = vec4(stats[0].y, stats[1].y, stats[2].y, stats[3].y);
      var p: Share;
      var ds: Share;
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        ds[i] = lane_scores(at, i) - delta;
      }
      workgroupBarrier();  // guards the areas: gradients have been read
      {
        var products: Scores;
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          products[column] = Result();
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          for (var column = 0u; column < COLUMNS; column++) {  // unrolled
            products[column] = subgroupMatrixMultiplyAccumulate(keys[depth], turned_at(Q, column, depth), products[column]);
          }
        }
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          store_result(subgroup, column, products[column]);
        }
      }
      workgroupBarrier();  // guards the areas: scores stand there
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        p[i] = exp2(fma(lane_scores(at, i), vec4(args.scale_log2), -lse_log2));
        ds[i] *= p[i];
      }
      if (n0 < queries.z || n0 + WALK > queries.w) {
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          let sees = within(bounds[i], n0 + place);
          p[i] = select(vec4<f32>(), p[i], sees);
          ds[i] = select(vec4<f32>(), ds[i], sees);
        }
      }
      workgroupBarrier();  // guards the areas: scores have been read
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        store_weights(at, P, i, p[i]);
        store_weights(at, DS, i, ds[i]);
      }
      workgroupBarrier();  // guards the areas: weights stand there
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        let left = weights_at(subgroup, P, column);
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          dv[depth] = subgroupMatrixMultiplyAccumulate(left, walked_at(DOUT, column, depth), dv[depth]);
        }
      }
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        let left = weights_at(subgroup, DS, column);
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          dk[depth] = subgroupMatrixMultiplyAccumulate(left, walked_at(Q, column, depth), dk[depth]);
        }
      }
    }
  }

  // Store.
  for (var part = 0u; part < PARTS; part++) {  // unrolled
    let d = part * WALK + lane_place(at);
    workgroupBarrier();  // guards the areas: what stood there has been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      store_result(subgroup, column, dk[depth]);
    }
    workgroupBarrier();  // guards the areas: sums of dk stand there
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dk(b, row, hk) + d / 4u;
      var value = lane_scores(at, i) * args.scale;
      if (ACCUMULATES) { value += load_dk(to); }
      store_dk(to, value);
    }
    workgroupBarrier();  // guards the areas: they have been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      store_result(subgroup, column, dv[depth]);
    }
    workgroupBarrier();  // guards the areas: sums of dv stand there
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dv(b, row, hk) + d / 4u;
      var value = lane_scores(at, i);
      if (ACCUMULATES) { value += load_dv(to); }
      store_dv(to, value);
    }
  }
}
