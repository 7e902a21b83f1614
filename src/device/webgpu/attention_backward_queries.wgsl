// attention_backward_queries: dq of attentionForward over a staircase.
//   p = exp(scale * q k^T - lse), ds = p * (dout v^T - delta), dq = scale * ds k.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in quads; stats f32 [B,H,Tq,2] (see attention_stats); q_rows i32
//          [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity; lo, hi i32 [B|1,H|1,Tq].
//          Output: dq [B,Tq,H,D] in quads, strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale, tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first; a workgroup owns a tile of queries: no atomics.
// Set by the launcher: CHUNK, CHUNKS, SPANS, PARTS, ACCUMULATES (dq is added into). Uses: attention_tile.
// Numerics: f32; what is masked weighs 0 exactly.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 2, with dq in a kernel of its own.
const Q = 0u;
const DOUT = 1u;
const K = 0u;
const V = 1u;

fn own_quad(which: u32, b: u32, h: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  if (which == Q) { return load_q(row_q(b, row, h) + d / 4u); }
  return load_dout(row_dout(b, row, h) + d / 4u);
}

fn walked_quad(which: u32, b: u32, hk: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  if (which == K) { return load_k(row_k(b, row, hk) + d / 4u); }
  return load_v(row_v(b, row, hk) + d / 4u);
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
    own_rows[thread] = row;
  }
  if (thread == 0u) {
    let last = min(n0 + TILE, args.Tq) - 1u;
    walk = vec2(u32(load_lo(row_lo(b, h) + n0)), u32(load_hi(row_hi(b, h) + last)));
  }
  let keys = workgroupUniformLoad(&walk);
  var lo = vec4<u32>();
  var hi = vec4<u32>();
  var lse = vec4<f32>();
  var delta = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    let row = own_rows[4u * y + i];
    if (row == NO_ROW) { continue; }
    let n = n0 + 4u * y + i;
    lo[i] = u32(load_lo(row_lo(b, h) + n));
    hi[i] = u32(load_hi(row_hi(b, h) + n));
    lse[i] = load_stats(row_stats(b, h, row));
    delta[i] = load_stats(row_stats(b, h, row) + 1u);
  }

  var dq: array<mat4x4<f32>, SPANS>;
  for (var m0 = keys.x; m0 < keys.y; m0 += TILE) {
    // Keys: their rows.
    workgroupBarrier();  // guards the rows: the last tile's keys are loaded
    if (thread < TILE) {
      let m = m0 + thread;
      var row = NO_ROW;
      if (m < keys.y) {
        row = m;
        if (HAS_K_ROWS) { row = u32(load_k_rows(row_k_rows(b, hk) + m)); }
      }
      walked_rows[thread] = row;
    }

    // Scores, and their gradients.
    var ds = dots(Q, h, K, hk, b, thread);
    let dp = dots(DOUT, h, V, hk, b, thread);
    for (var i = 0u; i < 4u; i++) {
      let p = exp(fma(ds[i], vec4(args.scale), vec4(-lse[i])));
      ds[i] = select(vec4<f32>(), p * (dp[i] - delta[i]), sees(m0 + 4u * x, lo[i], hi[i]));
    }

    // Product with the keys.
    for (var part = 0u; part < PARTS; part++) {
      for (var span = 0u; span < SPANS; span++) {  // unrolled
        workgroupBarrier();  // guards the chunks: products are done
        if (span == 0u) { store_weights(ds, part * CHUNK, x, y); }
        load_right(K, b, hk, part * CHUNK, span * TILE, thread);
        workgroupBarrier();  // guards the chunks: weights are written, keys are loaded
        dq[span] = with_products(dq[span], x, y);
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
        let to = row_dq(b, row, h) + d / 4u;
        var value = dq[span][i] * args.scale;
        if (ACCUMULATES) { value += load_dq(to); }
        store_dq(to, value);
      }
    }
  }
}
