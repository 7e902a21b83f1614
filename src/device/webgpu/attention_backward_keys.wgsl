// attention_backward_keys: dk and dv of attentionForward over a staircase, read by columns.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dv = p^T dout, dk = scale * ds^T q.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in quads; stats f32 [B,H,Tq,2] (see attention_stats); q_rows i32
//          [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; q_lo, q_hi i32 [B|1,H|1,Tk].
//          Outputs: dk, dv [B,Tk,Hk,D] in quads, strided.
// Numbers: heads (B * Hk), H, Hk, Tq, Tk, D, scale, tiles (ceil(Tk / TILE)).
// Grid:    heads * tiles workgroups, the first tiles first: most queries see them. A workgroup owns a tile of keys, and
//          walks along the queries of every head that shares them: no atomics.
// Set by the launcher: CHUNK, CHUNKS, SPANS, PARTS, ACCUMULATES (dk and dv are added into). Uses: attention_tile.
// Numerics: f32; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2.
const K = 0u;
const V = 1u;
const Q = 0u;
const DOUT = 1u;

fn own_quad(which: u32, b: u32, hk: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  if (which == K) { return load_k(row_k(b, row, hk) + d / 4u); }
  return load_v(row_v(b, row, hk) + d / 4u);
}

fn walked_quad(which: u32, b: u32, h: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  if (which == Q) { return load_q(row_q(b, row, h) + d / 4u); }
  return load_dout(row_dout(b, row, h) + d / 4u);
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
    own_rows[thread] = row;
  }

  var dk: array<mat4x4<f32>, SPANS>;
  var dv: array<mat4x4<f32>, SPANS>;
  for (var h = hk * shared_by; h < (hk + 1u) * shared_by; h++) {
    // Bounds, and the queries of the tile.
    if (thread == 0u) {
      let last = min(m0 + TILE, args.Tk) - 1u;
      walk = vec2(u32(load_q_lo(row_q_lo(b, h) + m0)), u32(load_q_hi(row_q_hi(b, h) + last)));
    }
    let queries = workgroupUniformLoad(&walk);
    var lo = vec4<u32>();
    var hi = vec4<u32>();
    for (var i = 0u; i < 4u; i++) {
      let m = m0 + 4u * y + i;
      if (m >= args.Tk) { continue; }
      lo[i] = u32(load_q_lo(row_q_lo(b, h) + m));
      hi[i] = u32(load_q_hi(row_q_hi(b, h) + m));
    }

    for (var n0 = queries.x; n0 < queries.y; n0 += TILE) {
      // Queries: their rows.
      workgroupBarrier();  // guards the rows: the last tile's queries are loaded
      if (thread < TILE) {
        let n = n0 + thread;
        var row = NO_ROW;
        if (n < queries.y) {
          row = n;
          if (HAS_Q_ROWS) { row = u32(load_q_rows(row_q_rows(b, h) + n)); }
        }
        walked_rows[thread] = row;
      }

      // Scores, and their gradients.
      var p = dots(K, hk, Q, h, b, thread);
      var ds = dots(V, hk, DOUT, h, b, thread);
      var lse = vec4<f32>();
      var delta = vec4<f32>();
      for (var j = 0u; j < 4u; j++) {
        let row = walked_rows[4u * x + j];
        if (row == NO_ROW) { continue; }
        lse[j] = load_stats(row_stats(b, h, row));
        delta[j] = load_stats(row_stats(b, h, row) + 1u);
      }
      for (var i = 0u; i < 4u; i++) {
        let visible = sees(n0 + 4u * x, lo[i], hi[i]);
        p[i] = select(vec4<f32>(), exp(fma(p[i], vec4(args.scale), -lse)), visible);
        ds[i] = select(vec4<f32>(), p[i] * (ds[i] - delta), visible);
      }

      // Products with dout and with the queries.
      for (var part = 0u; part < PARTS; part++) {
        for (var span = 0u; span < SPANS; span++) {  // unrolled
          workgroupBarrier();  // guards the chunks: products are done
          if (span == 0u) { store_weights(p, part * CHUNK, x, y); }
          load_right(DOUT, b, h, part * CHUNK, span * TILE, thread);
          workgroupBarrier();  // guards the chunks: weights are written, gradients are loaded
          dv[span] = with_products(dv[span], x, y);
        }
        for (var span = 0u; span < SPANS; span++) {  // unrolled
          workgroupBarrier();  // guards the chunks: products are done
          if (span == 0u) { store_weights(ds, part * CHUNK, x, y); }
          load_right(Q, b, h, part * CHUNK, span * TILE, thread);
          workgroupBarrier();  // guards the chunks: weights are written, queries are loaded
          dk[span] = with_products(dk[span], x, y);
        }
      }
    }
  }

  // Store.
  for (var i = 0u; i < 4u; i++) {
    let row = own_rows[4u * y + i];
    if (row == NO_ROW) { continue; }
    for (var span = 0u; span < SPANS; span++) {  // unrolled
      let d = span * TILE + 4u * x;
      if (d < args.D) {
        let dk_to = row_dk(b, row, hk) + d / 4u;
        let dv_to = row_dv(b, row, hk) + d / 4u;
        var dk_value = dk[span][i] * args.scale;
        var dv_value = dv[span][i];
        if (ACCUMULATES) {
          dk_value += load_dk(dk_to);
          dv_value += load_dv(dv_to);
        }
        store_dk(dk_to, dk_value);
        store_dv(dv_to, dv_value);
      }
    }
  }
}
