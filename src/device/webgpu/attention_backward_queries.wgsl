// attention_backward_queries: dq of attentionForward over a staircase.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dq = scale * ds k.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], lse, delta [B,H,Tq], strided; q_rows i32 [B|1,H|1,Tq], k_rows i32
//          [B|1,Hk|1,Tk], null for the identity; lo, hi i32 [B|1,H|1,Tq]. Output: dq [B,Tq,H,D] strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first; a workgroup owns a tile of queries: no atomics.
// Set by the launcher: CHUNKS, ACCUMULATES (dq is added into). Uses: attention_tile.
// Numerics: f32; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2, with dq in a kernel of its own.
fn load_q_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = left_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_q(row_q(b, row, h) + d); }
    left[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_dout_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = left_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_dout(row_dout(b, row, h) + d); }
    left[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_k_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = right_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_k(row_k(b, row, h) + d); }
    right[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_v_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = right_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_v(row_v(b, row, h) + d); }
    right[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

@compute @workgroup_size(THREADS)
fn attention_backward_queries(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = workgroup_number(id, groups);
  if (group >= args.heads * args.tiles) { return; }
  let n0 = (args.tiles - 1u - group / args.heads) * TILE;
  let b = group % args.heads / args.H;
  let h = group % args.heads % args.H;
  let hk = h * args.Hk / args.H;
  let x = thread % SIDE;
  let y = thread / SIDE;

  // Queries: their rows, their bounds, and the keys of the tile.
  if (thread < TILE) {
    let n = n0 + thread;
    var row = NO_ROW;
    if (n < args.Tq) {
      row = n;
      if (HAS_Q_ROWS) { row = u32(load_q_rows(row_q_rows(b, h) + n)); }
    }
    left_rows[thread] = row;
  }
  if (thread == 0u) {
    let last = min(n0 + TILE, args.Tq) - 1u;
    walk = vec2(u32(load_lo(row_lo(b, h) + n0)), u32(load_hi(row_hi(b, h) + last)));
  }
  let keys = workgroupUniformLoad(&walk);
  var lo = vec2<u32>();
  var hi = vec2<u32>();
  var lse_log2 = vec2<f32>();
  var delta = vec2<f32>();
  for (var i = 0u; i < 2u; i++) {
    let row = left_rows[y + i * SIDE];
    if (row == NO_ROW) { continue; }
    let n = n0 + y + i * SIDE;
    lo[i] = u32(load_lo(row_lo(b, h) + n));
    hi[i] = u32(load_hi(row_hi(b, h) + n));
    lse_log2[i] = load_lse(row_lse(b, h) + row) * LOG2_E;
    delta[i] = load_delta(row_delta(b, h) + row);
  }

  var dq: array<vec4<f32>, CHUNKS>;
  for (var m0 = keys.x; m0 < keys.y; m0 += TILE) {
    // Keys: their rows.
    workgroupBarrier();  // guards the rows: the last tile's values are loaded
    if (thread < TILE) {
      let m = m0 + thread;
      var row = NO_ROW;
      if (m < keys.y) {
        row = m;
        if (HAS_K_ROWS) { row = u32(load_k_rows(row_k_rows(b, hk) + m)); }
      }
      right_rows[thread] = row;
    }

    // Scores, and their gradients.
    var scores = vec4<f32>();
    var dp = vec4<f32>();
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      workgroupBarrier();  // guards the tiles and the rows: products are done, rows are written
      load_q_chunk(b, h, chunk, thread);
      load_k_chunk(b, hk, chunk, thread);
      workgroupBarrier();  // guards the tiles: both are loaded
      scores += dot_chunk(x, y);
      workgroupBarrier();  // guards the tiles: the products are done
      load_dout_chunk(b, h, chunk, thread);
      load_v_chunk(b, hk, chunk, thread);
      workgroupBarrier();  // guards the tiles: both are loaded
      dp += dot_chunk(x, y);
    }
    let m = vec2(m0 + x, m0 + x + SIDE);
    let sees = (vec4(m, m) >= lo.xxyy) & (vec4(m, m) < hi.xxyy);
    let p = select(vec4<f32>(), exp2(scores * args.scale_log2 - lse_log2.xxyy), sees);
    store_weights(x, y, select(vec4<f32>(), p * (dp - delta.xxyy), sees));

    // Product with the keys.
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      workgroupBarrier();  // guards the tile, and at first the weights: products are done, weights are written
      load_k_chunk(b, hk, chunk, thread);
      workgroupBarrier();  // guards the tile: it is loaded
      dq[chunk] += weighted_chunk(x, y);
    }
  }

  // Store.
  for (var i = 0u; i < 2u; i++) {
    let row = left_rows[y + i * SIDE];
    if (row == NO_ROW) { continue; }
    let to_row = row_dq(b, row, h);
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      for (var j = 0u; j < 2u; j++) {
        let d = chunk * CHUNK + x + j * SIDE;
        if (d >= args.D) { continue; }
        var value = dq[chunk][2u * i + j] * args.scale;
        if (ACCUMULATES) { value += load_dq(to_row + d); }
        store_dq(to_row + d, value);
      }
    }
  }
}
