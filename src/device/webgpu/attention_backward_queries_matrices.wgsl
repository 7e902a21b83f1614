// attention_backward_queries by subgroup matrices, for f16: dq of attentionForward over a staircase.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dq = scale * ds k.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; stats f32 [B,H,Tq,2] (see attention_stats);
//          q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; lo, hi i32 [B|1,H|1,Tq].
//          Output: dq [B,Tq,H,D] in fours, strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first; a workgroup owns a tile of queries: no atomics.
// Set by the launcher: what attention_matrices says (BLOCKS, TILES and AREAS 1), ACCUMULATES (dq is added into).
// Uses:    attention_matrices, attention_own_queries.
// Numerics: products of f16 summed in f32, ds rounded to f16; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2, with dq in a kernel of its own.
fn q_piece(b: u32, h: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  return load_q(row_q(b, row, h) + piece);
}

fn dout_piece(b: u32, h: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  return load_dout(row_dout(b, row, h) + piece);
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
  let walked = meet_queries(b, h, n0, thread);
  for (var i = lane; i < SIDE * PIECES; i += LANES) {
    let row = rows[subgroup * OWN + i / PIECES];
    scores[subgroup * AREA + i / PIECES * ROW + i % PIECES] = q_piece(b, h, row, i % PIECES);
  }
  workgroupBarrier();  // guards the areas: queries stand there
  var queries: OwnRows;
  for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
    queries[depth] = own_at(subgroup, depth);
  }
  workgroupBarrier();  // guards the areas: queries have been read
  for (var i = lane; i < SIDE * PIECES; i += LANES) {
    let row = rows[subgroup * OWN + i / PIECES];
    scores[subgroup * AREA + i / PIECES * ROW + i % PIECES] = dout_piece(b, h, row, i % PIECES);
  }
  workgroupBarrier();  // guards the areas: gradients stand there
  var gradients: OwnRows;
  for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
    gradients[depth] = own_at(subgroup, depth);
  }
  var stats: array<vec2<f32>, LANE_ROWS>;  // logarithm of the row's sum, to base 2, and delta
  for (var i = 0u; i < LANE_ROWS; i++) {
    let row = rows[subgroup * OWN + lane_row(at, i)];
    if (row == NO_ROW) { continue; }
    let from_row = row_stats(b, h, row);
    stats[i] = vec2(load_stats(from_row) * LOG2_E, load_stats(from_row + 1u));
  }

  var dq: Sums;
  var next_keys: Carried;
  var next_values: Carried;
  if (walked.x < walked.y) {
    next_values = fetch_values(b, hk, walked.x, walked.y, thread);
    next_keys = fetch_keys(b, hk, walked.x, walked.y, thread);
  }
  for (var m0 = walked.x; m0 < walked.y; m0 += WALK) {
    workgroupBarrier();  // guards the tile and the areas: products are done, gradients have been read
    put(&next_values, 0u, thread);
    if (m0 + WALK < walked.y) { next_values = fetch_values(b, hk, m0 + WALK, walked.y, thread); }
    workgroupBarrier();  // guards the tile: the values stand there
    {
      var products: Scores;
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        products[column] = Result();
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          products[column] = subgroupMatrixMultiplyAccumulate(gradients[depth], turned_at(0u, column, depth), products[column]);
        }
      }
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        store_result(subgroup, column, products[column]);
      }
    }
    workgroupBarrier();  // guards the areas: the scores' gradients stand there; and the tile: products with the values are done
    put(&next_keys, 0u, thread);
    if (m0 + WALK < walked.y) { next_keys = fetch_keys(b, hk, m0 + WALK, walked.y, thread); }
    var ds: Share;
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      ds[i] = lane_scores(at, i) - stats[i].y;
    }
    workgroupBarrier();  // guards the areas: gradients have been read; and the tile: the keys stand there
    {
      var products: Scores;
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        products[column] = Result();
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          products[column] = subgroupMatrixMultiplyAccumulate(queries[depth], turned_at(0u, column, depth), products[column]);
        }
      }
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        store_result(subgroup, column, products[column]);
      }
    }
    workgroupBarrier();  // guards the areas: scores stand there
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      ds[i] *= exp2(fma(lane_scores(at, i), vec4(args.scale_log2), vec4(-stats[i].x)));
    }
    if (m0 < walked.z || m0 + WALK > walked.w) {
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        let seen = bounds[subgroup * OWN + lane_row(at, i)];
        ds[i] = select(vec4<f32>(), ds[i], within(seen, m0 + lane_place(at)));
      }
    }
    workgroupBarrier();  // guards the areas: scores have been read
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      store_weights(at, 0u, i, ds[i]);
    }
    workgroupBarrier();  // guards the areas: weights stand there
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      let left = weights_at(subgroup, 0u, column);
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        dq[depth] = subgroupMatrixMultiplyAccumulate(left, walked_at(0u, column, depth), dq[depth]);
      }
    }
  }

  // Store.
  for (var part = 0u; part < PARTS; part++) {  // unrolled
    workgroupBarrier();  // guards the areas: what stood there has been read
    for (var column = 0u; column < COLUMNS; column++) {  // unrolled
      const depth = min(part * COLUMNS + column, DEPTH - 1u);
      store_result(subgroup, column, dq[depth]);
    }
    workgroupBarrier();  // guards the areas: sums stand there
    let d = part * WALK + lane_place(at);
    for (var i = 0u; i < LANE_ROWS; i++) {
      let row = rows[subgroup * OWN + lane_row(at, i)];
      if (row == NO_ROW || d >= args.D) { continue; }
      let to = row_dq(b, row, h) + d / 4u;
      var value = lane_scores(at, i) * args.scale;
      if (ACCUMULATES) { value += load_dq(to); }
      store_dq(to, value);
    }
  }
}
