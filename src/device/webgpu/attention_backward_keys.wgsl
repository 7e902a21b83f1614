// attention_backward_keys: dk and dv of attentionForward over a staircase, read by columns.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dv = p^T dout, dk = scale * ds^T q.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], lse, delta [B,H,Tq], strided; q_rows i32 [B|1,H|1,Tq], k_rows i32
//          [B|1,Hk|1,Tk], null for the identity; q_lo, q_hi i32 [B|1,H|1,Tk]. Outputs: dk, dv [B,Tk,Hk,D] strided.
// Numbers: heads (B * Hk), H, Hk, Tq, Tk, D, scale, scale_log2 (scale * log2 e), tiles (ceil(Tk / TILE)).
// Grid:    heads * tiles workgroups, the first tiles first: most queries see them. A workgroup owns a tile of keys, and
//          walks along the queries of every head that shares them: no atomics.
// Set by the launcher: CHUNKS, ACCUMULATES (dk and dv are added into). Uses: attention_tile.
// Numerics: f32; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2.
fn load_k_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = left_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_k(row_k(b, row, h) + d); }
    left[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_v_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = left_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_v(row_v(b, row, h) + d); }
    left[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_q_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = right_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_q(row_q(b, row, h) + d); }
    right[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

fn load_dout_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = right_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_dout(row_dout(b, row, h) + d); }
    right[i / CHUNK * STRIDE + i % CHUNK] = value;
  }
}

@compute @workgroup_size(THREADS)
fn attention_backward_keys(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = workgroup_number(id, groups);
  if (group >= args.heads * args.tiles) { return; }
  let m0 = group / args.heads * TILE;
  let b = group % args.heads / args.Hk;
  let hk = group % args.heads % args.Hk;
  let shared_by = args.H / args.Hk;
  let x = thread % SIDE;
  let y = thread / SIDE;

  // Keys: their rows.
  if (thread < TILE) {
    let m = m0 + thread;
    var row = NO_ROW;
    if (m < args.Tk) {
      row = m;
      if (HAS_K_ROWS) { row = u32(load_k_rows(row_k_rows(b, hk) + m)); }
    }
    left_rows[thread] = row;
  }

  var dk: array<vec4<f32>, CHUNKS>;
  var dv: array<vec4<f32>, CHUNKS>;
  for (var h = hk * shared_by; h < (hk + 1u) * shared_by; h++) {
    // Bounds, and the queries of the tile.
    if (thread == 0u) {
      let last = min(m0 + TILE, args.Tk) - 1u;
      walk = vec2(u32(load_q_lo(row_q_lo(b, h) + m0)), u32(load_q_hi(row_q_hi(b, h) + last)));
    }
    let queries = workgroupUniformLoad(&walk);
    var lo = vec2<u32>();
    var hi = vec2<u32>();
    for (var i = 0u; i < 2u; i++) {
      let m = m0 + y + i * SIDE;
      if (m < args.Tk) {
        lo[i] = u32(load_q_lo(row_q_lo(b, h) + m));
        hi[i] = u32(load_q_hi(row_q_hi(b, h) + m));
      }
    }

    for (var n0 = queries.x; n0 < queries.y; n0 += TILE) {
      // Queries: their rows.
      workgroupBarrier();  // guards the rows: the last tile's values are loaded
      if (thread < TILE) {
        let n = n0 + thread;
        var row = NO_ROW;
        if (n < queries.y) {
          row = n;
          if (HAS_Q_ROWS) { row = u32(load_q_rows(row_q_rows(b, h) + n)); }
        }
        right_rows[thread] = row;
      }

      // Scores, and their gradients.
      var scores = vec4<f32>();
      var dp = vec4<f32>();
      for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        workgroupBarrier();  // guards the tiles and the rows: products are done, rows are written
        load_k_chunk(b, hk, chunk, thread);
        load_q_chunk(b, h, chunk, thread);
        workgroupBarrier();  // guards the tiles: both are loaded
        scores += dot_chunk(x, y);
        workgroupBarrier();  // guards the tiles: the products are done
        load_v_chunk(b, hk, chunk, thread);
        load_dout_chunk(b, h, chunk, thread);
        workgroupBarrier();  // guards the tiles: both are loaded
        dp += dot_chunk(x, y);
      }
      var lse_log2 = vec2<f32>();
      var delta = vec2<f32>();
      for (var j = 0u; j < 2u; j++) {
        let row = right_rows[x + j * SIDE];
        if (row == NO_ROW) { continue; }
        lse_log2[j] = load_lse(row_lse(b, h) + row) * LOG2_E;
        delta[j] = load_delta(row_delta(b, h) + row);
      }
      let n = vec2(n0 + x, n0 + x + SIDE);
      let sees = (vec4(n, n) >= lo.xxyy) & (vec4(n, n) < hi.xxyy);
      let p = select(vec4<f32>(), exp2(scores * args.scale_log2 - lse_log2.xyxy), sees);
      let ds = select(vec4<f32>(), p * (dp - delta.xyxy), sees);

      // Products with dout and with the queries.
      store_weights(x, y, p);
      for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        workgroupBarrier();  // guards the tile, and at first the weights: products are done, weights are written
        load_dout_chunk(b, h, chunk, thread);
        workgroupBarrier();  // guards the tile: it is loaded
        dv[chunk] += weighted_chunk(x, y);
      }
      workgroupBarrier();  // guards the weights: those of dv have been read
      store_weights(x, y, ds);
      for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        workgroupBarrier();  // guards the tile, and at first the weights: products are done, weights are written
        load_q_chunk(b, h, chunk, thread);
        workgroupBarrier();  // guards the tile: it is loaded
        dk[chunk] += weighted_chunk(x, y);
      }
    }
  }

  // Store.
  for (var i = 0u; i < 2u; i++) {
    let row = left_rows[y + i * SIDE];
    if (row == NO_ROW) { continue; }
    let dk_row = row_dk(b, row, hk);
    let dv_row = row_dv(b, row, hk);
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      for (var j = 0u; j < 2u; j++) {
        let d = chunk * CHUNK + x + j * SIDE;
        if (d >= args.D) { continue; }
        var dk_value = dk[chunk][2u * i + j] * args.scale;
        var dv_value = dv[chunk][2u * i + j];
        if (ACCUMULATES) {
          dk_value += load_dk(dk_row + d);
          dv_value += load_dv(dv_row + d);
        }
        store_dk(dk_row + d, dk_value);
        store_dv(dv_row + d, dv_value);
      }
    }
  }
}
