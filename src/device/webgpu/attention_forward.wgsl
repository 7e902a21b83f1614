// attentionForward: o = softmax(scale * q k^T over the visible keys) v, over a staircase.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D], strided, in quads; q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for
//          the identity; lo, hi i32 [B|1,H|1,Tq]. Outputs: o [B,Tq,H,D] in quads, lse f32 [B,H,Tq], strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale, minus_infinity, tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first: they see the most keys. A workgroup owns a tile of queries.
// Set by the launcher: CHUNK, CHUNKS, SPANS, PARTS, MERGES (o and lse hold the attention over other keys).
// Uses:    attention_tile, attention_share.
// Numerics: f32; a row's weights are relative to the largest score when its sums were last scaled, and until one would
//          exceed e^GROWTH the sums stay as they are. Scores are not taken to base 2: scale * log2 e is a rounded number,
//          which moves scores of hundreds by more than float32's rounding of them does. What is masked weighs 0 exactly, so that a row which sees nothing
//          gives o = 0, lse = -Infinity and never NaN.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 1; the late scaling is FlashAttention-4's.
const Q = 0u;
const K = 1u;
const V = 2u;
/** Where rows' largest scores begin; what is masked lies far below. */
const LOWEST = -1e30;
const MASKED = -2e30;
const GROWTH = 5.0;

/** Whether some row's weights would grow too large. */
var<workgroup> grows: atomic<u32>;

fn own_quad(which: u32, b: u32, h: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  return load_q(row_q(b, row, h) + d / 4u);
}

fn walked_quad(which: u32, b: u32, hk: u32, row: u32, d: u32) -> vec4<f32> {
  if (row == NO_ROW || d >= args.D) { return vec4<f32>(); }
  if (which == K) { return load_k(row_k(b, row, hk) + d / 4u); }
  return load_v(row_v(b, row, hk) + d / 4u);
}

fn largest_of_quad(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
fn sum_of_quad(x: vec4<f32>) -> f32 { return (x.x + x.y) + (x.z + x.w); }

/** What `left` holds of the thread's four rows, a vector for each of the 16 threads of a row. */
fn largest_of_rows(y: u32) -> vec4<f32> {
  var most = left[y * SIDE];
  for (var i = 1u; i < SIDE; i++) { most = max(most, left[y * SIDE + i]); }
  return most;
}

fn sums_of_rows(y: u32) -> vec4<f32> {
  var sums = vec4<f32>();
  for (var i = 0u; i < SIDE; i++) { sums += left[y * SIDE + i]; }
  return sums;
}

@compute @workgroup_size(THREADS)
fn attention_forward(
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
  for (var i = 0u; i < 4u; i++) {
    let n = n0 + 4u * y + i;
    if (n >= args.Tq) { continue; }
    lo[i] = u32(load_lo(row_lo(b, h) + n));
    hi[i] = u32(load_hi(row_hi(b, h) + n));
  }

  var sums: array<mat4x4<f32>, SPANS>;
  var most = vec4(LOWEST);
  var total = vec4<f32>();  // this thread's share
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
      walked_rows[thread] = row;
    }

    // Scores.
    var scores = dots(Q, h, K, hk, b, thread);
    var largest = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
      scores[i] = select(vec4(MASKED), scores[i] * args.scale, sees(m0 + 4u * x, lo[i], hi[i]));
      largest[i] = largest_of_quad(scores[i]);
    }

    // Online softmax.
    if (any(largest - most > vec4(GROWTH))) { atomicStore(&grows, 1u); }
    if (workgroupUniformLoad(&grows) != 0u) {
      left[y * SIDE + x] = largest;
      workgroupBarrier();  // guards the largest: all are written
      let larger = max(most, largest_of_rows(y));
      let fade = exp(most - larger);
      most = larger;
      total *= fade;
      for (var span = 0u; span < SPANS; span++) {  // unrolled
        sums[span] = mat4x4(sums[span][0] * fade.x, sums[span][1] * fade.y, sums[span][2] * fade.z, sums[span][3] * fade.w);
      }
      if (thread == 0u) { atomicStore(&grows, 0u); }
    }
    for (var i = 0u; i < 4u; i++) {
      let visible = scores[i] > vec4(LOWEST);
      scores[i] = select(vec4<f32>(), exp(scores[i] - most[i]), visible);
      total[i] += sum_of_quad(scores[i]);
    }

    // Product with the values.
    for (var part = 0u; part < PARTS; part++) {
      for (var span = 0u; span < SPANS; span++) {  // unrolled
        workgroupBarrier();  // guards the chunks: products are done, the largest have been read
        if (span == 0u) { store_weights(scores, part * CHUNK, x, y); }
        load_right(V, b, hk, part * CHUNK, span * TILE, thread);
        workgroupBarrier();  // guards the chunks: weights are written, values are loaded
        sums[span] = with_products(sums[span], x, y);
      }
    }
  }

  // Store.
  workgroupBarrier();  // guards the chunks: the last products are done
  left[y * SIDE + x] = total;
  workgroupBarrier();  // guards the totals: all are written
  let row_sums = sums_of_rows(y);
  var results: array<RowShare, 4>;
  for (var i = 0u; i < 4u; i++) {
    let row = own_rows[4u * y + i];
    if (row == NO_ROW) { continue; }
    results[i] = share_of(row_lse(b, h) + row, most[i], row_sums[i]);
    for (var span = 0u; span < SPANS; span++) {  // unrolled
      let d = span * TILE + 4u * x;
      if (d < args.D) {
        let to = row_o(b, row, h) + d / 4u;
        var value = sums[span][i] * results[i].own;
        if (MERGES && results[i].old > 0.0) { value += load_o(to) * results[i].old; }
        store_o(to, value);
      }
    }
  }
  storageBarrier();
  workgroupBarrier();  // guards lse: all threads of a row have read the old one
  if (x > 0u) { return; }
  for (var i = 0u; i < 4u; i++) {
    let row = own_rows[4u * y + i];
    if (row != NO_ROW) { store_lse(row_lse(b, h) + row, results[i].lse); }
  }
}
