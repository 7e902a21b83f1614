// attentionForward by subgroup matrices, for f16: o = softmax(scale * q k^T over the visible keys) v, over a staircase.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in pieces of 8; q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk],
//          null for the identity; lo, hi i32 [B|1,H|1,Tq]. Outputs: o [B,Tq,H,D] in fours, lse [B,H,Tq], strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale_log2 (scale * log2 e), minus_infinity, tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first: they see the most keys. A workgroup owns a tile of queries.
// Set by the launcher: what attention_matrices says (TILES 1 or 2, AREAS BLOCKS), MERGES.
// Uses:    attention_matrices, attention_own_queries, attention_share.
// Numerics: products of f16 summed in f32, weights rounded to f16. Sums cannot be scaled where they are, and seldom need
//          to be: a row's weights are relative to the largest score when its sums were last scaled, and until one would
//          exceed 2^GROWTH they stay. What is masked weighs 0, so that a row which sees nothing gives o = 0,
//          lse = -Infinity and never NaN.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 1; the late scaling is FlashAttention-4's.
/** Where rows' largest scores begin, before they are scaled; what is masked lies far below at any scale from SMALLEST on. */
const LOWEST = -1e20;
const MASKED = -1e30;
const SMALLEST = 1e-20;
const GROWTH = 8.0;
/** Which tile is which; where there is memory for one alone, keys give way to their values. */
const K = 0u;
const V = TILES - 1u;

/** Whether some row's weights would grow too large. */
var<workgroup> grows: atomic<u32>;

fn q_piece(b: u32, h: u32, row: u32, piece: u32) -> vec4<u32> {
  if (row == NO_ROW || 8u * piece >= args.D) { return vec4<u32>(); }
  // The scale is taken as positive, so that a row's largest score is its largest product.
  return load_q(row_q(b, row, h) + piece) ^ vec4(select(0u, 0x80008000u, args.scale_log2 < 0.0));
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
  let scale = max(abs(args.scale_log2), SMALLEST);

  // Queries: their rows, their bounds, and the keys of the tile.
  let keys = meet_queries(b, h, n0, thread);
  var own: array<OwnRows, BLOCKS>;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    if (block > 0u) { workgroupBarrier(); }  // guards the areas: the last block has been read
    for (var i = lane; i < SIDE * PIECES; i += LANES) {
      let row = rows[subgroup * OWN + block * SIDE + i / PIECES];
      scores[subgroup * AREA + i / PIECES * ROW + i % PIECES] = q_piece(b, h, row, i % PIECES);
    }
    workgroupBarrier();  // guards the areas: queries stand there
    for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
      own[block][depth] = own_at(subgroup, depth);
    }
  }

  var sums: array<Sums, BLOCKS>;
  var most: array<array<f32, LANE_ROWS>, BLOCKS>;
  var total: array<array<f32, LANE_ROWS>, BLOCKS>;  // the lane's part
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      most[block][i] = LOWEST * scale;
    }
  }
  var next_most = most;
  var m0 = keys.x;
  while (m0 < keys.y) {
    var next_keys = fetch_keys(b, hk, m0, keys.y, thread);
    var next_values = fetch_values(b, hk, m0, keys.y, thread);
    workgroupBarrier();  // guards the tiles and the areas: products are done, the queries or sums have been read
    put(&next_keys, K, thread);
    if (m0 + WALK < keys.y) { next_keys = fetch_keys(b, hk, m0 + WALK, keys.y, thread); }
    workgroupBarrier();  // guards the tiles: keys stand there

    // Until a row's weights would grow too large.
    loop {
      var products: array<Scores, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          products[block][column] = Result();
        }
      }
      for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          let right = turned_at(K, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            products[block][column] = subgroupMatrixMultiplyAccumulate(own[block][depth], right, products[block][column]);
          }
        }
      }
      var share: array<Share, BLOCKS>;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        if (block > 0u) { workgroupBarrier(); }  // guards the areas: the last block has been read
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          store_result(subgroup, column, products[block][column]);
        }
        workgroupBarrier();  // guards the areas: scores stand there; and the tiles: their products are done
        if (block == 0u) {
          put(&next_values, V, thread);
          if (TILES > 1u) { put(&next_keys, K, thread); }
          if (m0 + WALK < keys.y) { next_values = fetch_values(b, hk, m0 + WALK, keys.y, thread); }
          if (TILES > 1u && m0 + 2u * WALK < keys.y) {
            next_keys = fetch_keys(b, hk, m0 + 2u * WALK, keys.y, thread);
          }
        }
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          share[block][i] = lane_scores(at, i);
        }
      }
      if (m0 < keys.z || m0 + WALK > keys.w) {
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
            let seen = bounds[subgroup * OWN + block * SIDE + lane_row(at, i)];
            share[block][i] = select(vec4(MASKED), share[block][i], within(seen, m0 + lane_place(at)));
          }
        }
      }
      if (m0 == keys.x) {
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
            most[block][i] = max(most[block][i], largest_of_row(largest_of_four(share[block][i])) * scale);
          }
        }
      }
      var excess = 0.0;
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          excess = max(excess, fma(largest_of_four(share[block][i]), scale, -most[block][i]));
        }
      }
      if (excess > GROWTH) { atomicStore(&grows, 1u); }
      if (workgroupUniformLoad(&grows) != 0u) {  // also guards the areas: scores have been read
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
            next_most[block][i] = max(most[block][i], largest_of_row(largest_of_four(share[block][i])) * scale);
          }
        }
        break;
      }
      for (var block = 0u; block < BLOCKS; block++) {  // unrolled
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          let four = exp2(fma(share[block][i], vec4(scale), vec4(-most[block][i])));
          total[block][i] += (four.x + four.y) + (four.z + four.w);
          store_weights(at, block, i, four);
        }
      }
      workgroupBarrier();  // guards the areas: weights stand there; and the tiles: values and the next keys stand there
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        var left: array<Left, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {  // unrolled
          left[block] = weights_at(subgroup, block, column);
        }
        for (var depth = 0u; depth < DEPTH; depth++) {  // unrolled
          let right = walked_at(V, column, depth);
          for (var block = 0u; block < BLOCKS; block++) {  // unrolled
            sums[block][depth] = subgroupMatrixMultiplyAccumulate(left[block], right, sums[block][depth]);
          }
        }
      }
      m0 += WALK;
      if (m0 >= keys.y) { break; }
      if (TILES == 1u) {
        workgroupBarrier();  // guards the tile: products with the values are done
        put(&next_keys, K, thread);
        if (m0 + WALK < keys.y) { next_keys = fetch_keys(b, hk, m0 + WALK, keys.y, thread); }
        workgroupBarrier();  // guards the tile: the keys stand there
      }
    }
    if (m0 >= keys.y) { break; }

    // What the rows' weights are relative to grows, and the sums fade; then the same tile again.
    for (var block = 0u; block < BLOCKS; block++) {  // unrolled
      for (var part = 0u; part < PARTS; part++) {  // unrolled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          const depth = min(part * COLUMNS + column, DEPTH - 1u);
          store_result(subgroup, column, sums[block][depth]);
        }
        workgroupBarrier();  // guards the areas: sums stand there
        for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
          store_lane_scores(at, i, lane_scores(at, i) * exp2(most[block][i] - next_most[block][i]));
        }
        workgroupBarrier();  // guards the areas: they are scaled
        for (var column = 0u; column < COLUMNS; column++) {  // unrolled
          const depth = min(part * COLUMNS + column, DEPTH - 1u);
          sums[block][depth] = load_result(subgroup, column);
        }
        workgroupBarrier();  // guards the areas: they have been read
      }
      for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
        total[block][i] *= exp2(most[block][i] - next_most[block][i]);
        most[block][i] = next_most[block][i];
      }
    }
    if (thread == 0u) { atomicStore(&grows, 0u); }
  }

  // Store.
  var results: array<array<RowShare, LANE_ROWS>, BLOCKS>;
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      let sum = sum_of_row(total[block][i]);
      let row = rows[subgroup * OWN + block * SIDE + lane_row(at, i)];
      if (row != NO_ROW) { results[block][i] = share_of(row_lse(b, h) + row, most[block][i] / LOG2_E, sum); }
    }
  }
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var part = 0u; part < PARTS; part++) {  // unrolled
      workgroupBarrier();  // guards the areas: what stood there has been read
      for (var column = 0u; column < COLUMNS; column++) {  // unrolled
        const depth = min(part * COLUMNS + column, DEPTH - 1u);
        store_result(subgroup, column, sums[block][depth]);
      }
      workgroupBarrier();  // guards the areas: sums stand there
      let d = part * WALK + lane_place(at);
      for (var i = 0u; i < LANE_ROWS; i++) {
        let row = rows[subgroup * OWN + block * SIDE + lane_row(at, i)];
        if (row == NO_ROW || d >= args.D) { continue; }
        let to = row_o(b, row, h) + d / 4u;
        var value = lane_scores(at, i) * results[block][i].own;
        if (MERGES && results[block][i].old > 0.0) { value += load_o(to) * results[block][i].old; }
        store_o(to, value);
      }
    }
  }
  storageBarrier();
  workgroupBarrier();  // guards lse: all lanes of a row have read the old one
  if (lane % FOURS > 0u) { return; }
  for (var block = 0u; block < BLOCKS; block++) {  // unrolled
    for (var i = 0u; i < LANE_ROWS; i++) {  // unrolled
      let row = rows[subgroup * OWN + block * SIDE + lane_row(at, i)];
      if (row != NO_ROW) { store_lse(row_lse(b, h) + row, results[block][i].lse); }
    }
  }
}
