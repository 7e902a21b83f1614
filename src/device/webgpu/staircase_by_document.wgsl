// staircase_by_document: from rows by (group, position) to rows by (document, group, position).
// Inputs:  sorted i32 [B * H, T], starts i32 [B * H, group_count + 1]; document_starts i32 [B,Tk].
// Outputs: rows i32 [B * H, T]; buckets i32 [B * H, T]: the group of each place, for rows that take part.
// Numbers: count (B * H * T), T, H, Tk, group_count.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a place of `sorted`.
// Set by the launcher: THREADS.
// Method:  a document is a run of rows, so that each group has it as a run of places, found by bisection. A row comes
//          after the rows before its document, those of lower groups in it, and those before it in its own.
fn sorted_before(head: u32, bucket: u32, row: i32) -> i32 {
  let at = head * (args.group_count + 1u) + bucket;
  var begin = load_starts(at);
  var end = load_starts(at + 1u);
  while (begin < end) {
    let middle = (begin + end) / 2;
    if (load_sorted(head * args.T + u32(middle)) < row) { begin = middle + 1; } else { end = middle; }
  }
  return begin;
}

/** Where the document that begins at this position ends. */
fn document_end(b: u32, start: i32) -> i32 {
  var begin = start + 1;
  var end = i32(args.Tk);
  while (begin < end) {
    let middle = (begin + end) / 2;
    if (load_document_starts(b * args.Tk + u32(middle)) <= start) { begin = middle + 1; } else { end = middle; }
  }
  return begin;
}

@compute @workgroup_size(THREADS)
fn staircase_by_document(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let head = i / args.T;
  let place = i32(i % args.T);
  let row = load_sorted(i);
  if (place >= load_starts(head * (args.group_count + 1u) + args.group_count)) {
    store_rows(i, row);
    return;
  }
  let b = head / args.H;
  let shift = i32(args.Tk) - i32(args.T);
  let start = load_document_starts(b * args.Tk + u32(max(row + shift, 0)));
  // Rows that stand before position 0 belong to its document.
  let first_row = select(max(start - shift, 0), 0, start == 0);
  let end_row = document_end(b, start) - shift;
  var to_place = 0;
  var bucket = 0u;
  for (var g = 0u; g < args.group_count; g++) {
    let first = load_starts(head * (args.group_count + 1u) + g);
    let end = load_starts(head * (args.group_count + 1u) + g + 1u);
    let before = sorted_before(head, g, first_row);
    to_place += before - first;
    if (place >= end) { to_place += sorted_before(head, g, end_row) - before; }
    else if (place >= first) {
      to_place += place - before;
      bucket = g;
    }
  }
  store_rows(head * args.T + u32(to_place), row);
  store_buckets(head * args.T + u32(to_place), i32(bucket));
}
