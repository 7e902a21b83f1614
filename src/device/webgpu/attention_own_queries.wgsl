// The matrix kernels that own queries: a tile's queries, and the keys and values that it walks along; see attention_matrices.wgsl.
// Inputs: k, v [B,Tk,Hk,D], strided, in pieces of 8; q_rows i32 [B|1,H|1,Tq], k_rows i32 [B|1,Hk|1,Tk], null for the identity;
//         lo, hi i32 [B|1,H|1,Tq]. Numbers: Tq, D.
var<workgroup> rows: array<u32, TILE>;
var<workgroup> bounds: array<vec2<u32>, TILE>;
/** First and last key of the tile, and between which all its queries see all. */
var<workgroup> walk: vec4<u32>;

/** Finds the rows and bounds of the tile's queries, from n0 on. @return its `walk` */
fn meet_queries(b: u32, h: u32, n0: u32, thread: u32) -> vec4<u32> {
  if (thread < TILE) {
    let n = n0 + thread;
    var row = NO_ROW;
    var seen = vec2<u32>();
    if (n < args.Tq) {
      row = n;
      if (HAS_Q_ROWS) { row = u32(load_q_rows(row_q_rows(b, h) + n)); }
      seen = vec2(u32(load_lo(row_lo(b, h) + n)), u32(load_hi(row_hi(b, h) + n)));
    }
    rows[thread] = row;
    bounds[thread] = seen;
  }
  if (thread == 0u) {
    let last = min(n0 + TILE, args.Tq) - 1u;
    let lo = vec2(u32(load_lo(row_lo(b, h) + n0)), u32(load_lo(row_lo(b, h) + last)));
    let hi = vec2(u32(load_hi(row_hi(b, h) + n0)), u32(load_hi(row_hi(b, h) + last)));
    walk = vec4(lo.x, hi.y, lo.y, hi.x);
  }
  return workgroupUniformLoad(&walk);  // guards the rows and bounds: all are written
}

fn key_row(b: u32, hk: u32, m: u32) -> u32 {
  if (HAS_K_ROWS) { return u32(load_k_rows(row_k_rows(b, hk) + m)); }
  return m;
}

/** The thread's share of the keys from m0 on. Beyond the last key stands the last, which is masked there. */
fn fetch_keys(b: u32, hk: u32, m0: u32, end: u32, thread: u32) -> Carried {
  var carried: Carried;
  let line = row_k(0u, 1u, 0u) - row_k(0u, 0u, 0u);
  for (var i = 0u; i < CARRIED; i++) {  // unrolled
    let piece = carried_piece(i, thread);
    let row = key_row(b, hk, min(m0 + carried_row(i, thread), end - 1u));
    if (WHOLE_ROWS || 8u * piece < args.D) { carried[i] = load_k(row_k(b, 0u, hk) + piece + row * line); }
  }
  return carried;
}

/** Likewise, of their values. */
fn fetch_values(b: u32, hk: u32, m0: u32, end: u32, thread: u32) -> Carried {
  var carried: Carried;
  let line = row_v(0u, 1u, 0u) - row_v(0u, 0u, 0u);
  for (var i = 0u; i < CARRIED; i++) {  // unrolled
    let piece = carried_piece(i, thread);
    let row = key_row(b, hk, min(m0 + carried_row(i, thread), end - 1u));
    if (WHOLE_ROWS || 8u * piece < args.D) { carried[i] = load_v(row_v(b, 0u, hk) + piece + row * line); }
  }
  return carried;
}
