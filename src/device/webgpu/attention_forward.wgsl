// attentionForward: o = softmax(scale * q k^T over the visible keys) v, over a staircase.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D], strided; q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the
//          identity; lo, hi i32 [B|1,H|1,Tq]. Outputs: o [B,Tq,H,D], lse [B,H,Tq], strided.
// Numbers: heads (B * H), H, Hk, Tq, Tk, D, scale_log2 (scale * log2 e), minus_infinity, tiles (ceil(Tq / TILE)).
// Grid:    heads * tiles workgroups, the last tiles first: they see the most keys. A workgroup owns a tile of queries.
// Workgroup memory: (3 * TILE * STRIDE + TILE * SIDE + 2 * TILE + 2) * 4 bytes.
// Set by the launcher: CHUNKS, MERGES (o and lse hold the attention over other keys). Uses: attention_tile.
// Numerics: f32; online softmax by exp2; the running maximum begins at a finite number, and what is masked weighs 0
//          exactly, so that a row which sees nothing gives o = 0, lse = -Infinity and never NaN.
// Follows FlashAttention-2 (arXiv 2307.08691), algorithm 1.
const LOWEST = -1e30;
const MINUS_INFINITY = 0xff800000u;

/** The thread's largest score of each row of the tile, then its share of each row's sum. */
var<workgroup> partials: array<f32, TILE * SIDE>;

fn load_q_chunk(b: u32, h: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < TILE * CHUNK; i += THREADS) {
    let row = left_rows[i / CHUNK];
    let d = chunk * CHUNK + i % CHUNK;
    var value = 0.0;
    if (row != NO_ROW && d < args.D) { value = load_q(row_q(b, row, h) + d); }
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

/** Combines over the 16 threads of a row: the same in all of them. */
fn largest_of_row(y: u32) -> f32 {
  var most = partials[y * SIDE];
  for (var i = 1u; i < SIDE; i++) { most = max(most, partials[y * SIDE + i]); }
  return most;
}

fn sum_of_row(y: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < SIDE; i++) { sum += partials[y * SIDE + i]; }
  return sum;
}

/** What a row becomes: its sums by `own`, what is there by `old`. */
struct Share {
  old: f32,
  own: f32,
  lse: f32,
}

fn share_of(lse_place: u32, most: f32, sum: f32) -> Share {
  var share = Share(0.0, 0.0, args.minus_infinity);
  if (sum > 0.0) { share = Share(0.0, 1.0 / sum, (most + log2(sum)) * LN_2); }
  if (!MERGES) { return share; }
  let old = load_lse(lse_place);
  if (bitcast<u32>(old) == MINUS_INFINITY) { return share; }
  if (sum == 0.0) { return Share(1.0, 0.0, old); }
  let larger = max(old, share.lse);
  let old_weight = exp(old - larger);
  let own_weight = exp(share.lse - larger);
  let both = old_weight + own_weight;
  return Share(old_weight / both, own_weight / both / sum, larger + log(both));
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
  let bounds_at = row_lo(b, h);
  let bounds_hi_at = row_hi(b, h);
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
    walk = vec2(u32(load_lo(bounds_at + n0)), u32(load_hi(bounds_hi_at + last)));
  }
  let keys = workgroupUniformLoad(&walk);
  var lo = vec2<u32>();
  var hi = vec2<u32>();
  for (var i = 0u; i < 2u; i++) {
    let n = n0 + y + i * SIDE;
    if (n < args.Tq) {
      lo[i] = u32(load_lo(bounds_at + n));
      hi[i] = u32(load_hi(bounds_hi_at + n));
    }
  }

  var sums: array<vec4<f32>, CHUNKS>;
  var most = vec2(LOWEST);
  var total = vec2<f32>();  // this thread's share
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

    // Scores.
    var scores = vec4<f32>();
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      workgroupBarrier();  // guards the tiles and the rows: products are done, rows are written
      load_q_chunk(b, h, chunk, thread);
      load_k_chunk(b, hk, chunk, thread);
      workgroupBarrier();  // guards the tiles: both are loaded
      scores += dot_chunk(x, y);
    }
    scores *= args.scale_log2;
    let m = vec2(m0 + x, m0 + x + SIDE);
    let sees = (vec4(m, m) >= lo.xxyy) & (vec4(m, m) < hi.xxyy);
    scores = select(vec4(LOWEST), scores, sees);

    // Online softmax.
    partials[y * SIDE + x] = max(scores.x, scores.y);
    partials[(y + SIDE) * SIDE + x] = max(scores.z, scores.w);
    workgroupBarrier();  // guards the maxima: all are written
    let larger = max(most, vec2(largest_of_row(y), largest_of_row(y + SIDE)));
    let fade = exp2(most - larger);
    most = larger;
    let shares = select(vec4<f32>(), exp2(scores - most.xxyy), sees);
    total = total * fade + vec2(shares.x + shares.y, shares.z + shares.w);
    store_weights(x, y, shares);

    // Product with the values.
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      workgroupBarrier();  // guards the tile, and at first the weights: products are done, weights are written
      load_v_chunk(b, hk, chunk, thread);
      workgroupBarrier();  // guards the tile: it is loaded
      sums[chunk] = sums[chunk] * fade.xxyy + weighted_chunk(x, y);
    }
  }

  // Store.
  workgroupBarrier();  // guards the partials: the last maxima have been read
  partials[y * SIDE + x] = total.x;
  partials[(y + SIDE) * SIDE + x] = total.y;
  workgroupBarrier();  // guards the partials: all are written
  let rows = vec2(left_rows[y], left_rows[y + SIDE]);
  var results: array<Share, 2>;
  for (var i = 0u; i < 2u; i++) {
    if (rows[i] == NO_ROW) { continue; }
    results[i] = share_of(row_lse(b, h) + rows[i], most[i], sum_of_row(y + i * SIDE));
    let to_row = row_o(b, rows[i], h);
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      for (var j = 0u; j < 2u; j++) {
        let d = chunk * CHUNK + x + j * SIDE;
        if (d >= args.D) { continue; }
        var value = sums[chunk][2u * i + j] * results[i].own;
        if (MERGES && results[i].old > 0.0) { value += load_o(to_row + d) * results[i].old; }
        store_o(to_row + d, value);
      }
    }
  }
  storageBarrier();
  workgroupBarrier();  // guards lse: all threads of a row have read the old one
  if (x > 0u) { return; }
  for (var i = 0u; i < 2u; i++) {
    if (rows[i] != NO_ROW) { store_lse(row_lse(b, h) + rows[i], results[i].lse); }
  }
}
