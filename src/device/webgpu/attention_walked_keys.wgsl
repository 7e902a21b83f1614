// The tiles of keys and of values that the matrix kernels which own queries walk along; see attention_matrices.wgsl.
// Inputs: k, v [B,Tk,Hk,D], strided, in pieces of 8; k_rows i32 [B|1,Hk|1,Tk], null for the identity. Numbers: D.
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
