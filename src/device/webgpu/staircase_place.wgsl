// staircase_place: rows by (bucket, position): the last step of a stable counting sort.
// Inputs:  row_groups i32 [B,T,H] strided; counts i32 [B * H, segments, group_count + 1] as staircase_scan leaves them.
// Output:  rows i32 [B * H, T].
// Numbers: B, T, H, group_count, keep_masks, segments (ceil(T / THREADS)).
// Grid:    B * H * segments workgroups; a thread owns a row.
// Set by the launcher: THREADS. Uses: staircase_bucket.
var<workgroup> buckets: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn staircase_place(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = workgroup_number(id, groups);
  let head = segment / args.segments;
  let i = segment % args.segments * THREADS + lane;
  let is_row = i < args.T && head < args.B * args.H;
  var bucket = args.group_count + 1u;
  if (is_row) { bucket = bucket_of(load_row_groups(row_row_groups(head / args.H, i) + head % args.H)); }
  buckets[lane] = bucket;
  workgroupBarrier();  // guards the buckets: all are written
  if (!is_row) { return; }
  var place = load_counts(segment * (args.group_count + 1u) + bucket);
  for (var before = 0u; before < lane; before++) { place += select(0, 1, buckets[before] == bucket); }
  store_rows(head * args.T + u32(place), i32(i));
}
