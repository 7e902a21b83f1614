// staircase_intervals: lo, hi i32 [B,H,Tq] of every query place. StaircaseRule (staircase.ts) states the rule.
// Inputs:  q_rows i32 [B,H,Tq], k_rows i32 [B,Hk,Tk], null for the identity; q_starts i32 [B,H,group_count + 1], k_starts
//          i32 [B,Hk,group_count + 1], null where all are in group 0; document_starts i32 [B,Tk] or null; with it,
//          q_buckets i32 [B,H,Tq], k_buckets i32 [B,Hk,Tk], the group of each place, null where all are in group 0.
// Numbers: count (B * H * Tq), H, Hk, Tq, Tk, group_count, near, far (NO_LIMIT for no limit), chunk (0 for none).
// Grid:    ceil(count / THREADS) workgroups; a thread owns a place.
// Set by the launcher: THREADS. Uses: staircase_tables.
// Method:  both bounds by bisection, over the keys of the query's group, or, with documents, over all that take part.
const NO_LIMIT = 0x7fffffff;

/** What the visit order sorts by. */
struct Place {
  document: i32,
  bucket: i32,
  row: i32,
}

fn document_at(b: u32, position: i32) -> i32 {
  return i32(load_document_starts(b * args.Tk + u32(max(position, 0))));
}

fn key_is_below(b: u32, key_head: u32, m: i32, limit: Place) -> bool {
  let row = key_row(key_head, m);
  if (!HAS_DOCUMENT_STARTS) { return row < limit.row; }
  let document = document_at(b, row);
  if (document != limit.document) { return document < limit.document; }
  let bucket = i32(load_k_buckets(key_head * args.Tk + u32(m)));
  if (bucket != limit.bucket) { return bucket < limit.bucket; }
  return row < limit.row;
}

/** The first place of begin .. end at which no key stands below the limit; end if all do. */
fn first_key_from(b: u32, key_head: u32, range: vec2<i32>, limit: Place) -> i32 {
  var begin = range.x;
  var end = range.y;
  while (begin < end) {
    let middle = (begin + end) / 2;
    if (key_is_below(b, key_head, middle, limit)) { begin = middle + 1; } else { end = middle; }
  }
  return begin;
}

/** The group whose query places include this one. */
fn bucket_of_place(head: u32, n: i32) -> u32 {
  var begin = 0u;
  var end = args.group_count;
  while (begin < end) {
    let middle = (begin + end) / 2u;
    if (query_start(head, middle + 1u) <= n) { begin = middle + 1u; } else { end = middle; }
  }
  return begin;
}

@compute @workgroup_size(THREADS)
fn staircase_intervals(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let head = i / args.Tq;
  let n = i32(i % args.Tq);
  let b = head / args.H;
  let key_head = b * args.Hk + head % args.H * args.Hk / args.H;
  let keys = key_start(key_head, args.group_count);  // that take part
  var lo = keys;
  var hi = keys;
  if (n < query_start(head, args.group_count)) {
    let position = query_row(head, n) + i32(args.Tk) - i32(args.Tq);
    var range = vec2(0, keys);
    var limit = Place();
    if (HAS_DOCUMENT_STARTS) {
      limit.document = document_at(b, position);
      limit.bucket = i32(load_q_buckets(i));
    } else {
      let bucket = bucket_of_place(head, n);
      range = vec2(key_start(key_head, bucket), key_start(key_head, bucket + 1u));
    }
    limit.row = position - args.near + 1;
    hi = first_key_from(b, key_head, range, limit);
    limit.row = select(position - args.far, 0, args.far == NO_LIMIT);
    lo = first_key_from(b, key_head, vec2(range.x, hi), limit);
    if (args.chunk > 0 && hi > 0) { lo = max(lo, ((hi - 1) / args.chunk - 1) * args.chunk); }
  }
  store_lo(i, lo);
  store_hi(i, hi);
}
