// What staircase_intervals and staircase_columns read: the order of each side, as a table or, where it is null, the
// identity with all in group 0. Numbers: Tq, Tk, group_count.
fn query_row(head: u32, n: i32) -> i32 {
  if (HAS_Q_ROWS) { return i32(load_q_rows(head * args.Tq + u32(n))); }
  return n;
}

fn key_row(key_head: u32, m: i32) -> i32 {
  if (HAS_K_ROWS) { return i32(load_k_rows(key_head * args.Tk + u32(m))); }
  return m;
}

/** How many query places come before those of a bucket. */
fn query_start(head: u32, bucket: u32) -> i32 {
  if (HAS_Q_STARTS) { return i32(load_q_starts(head * (args.group_count + 1u) + bucket)); }
  return select(i32(args.Tq), 0, bucket == 0u);
}

fn key_start(key_head: u32, bucket: u32) -> i32 {
  if (HAS_K_STARTS) { return i32(load_k_starts(key_head * (args.group_count + 1u) + bucket)); }
  return select(i32(args.Tk), 0, bucket == 0u);
}
