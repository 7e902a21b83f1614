// staircase_count: how many rows of each segment of THREADS rows are in each bucket. A bucket is a group; the last one,
// group_count, holds the rows that take no part.
// Input:   row_groups i32 [B,T,H] strided. Output: counts i32 [B * H, segments, group_count + 1].
// Numbers: B, T, H, group_count, keep_masks, segments (ceil(T / THREADS)).
// Grid:    B * H * segments workgroups; a thread owns a row, then every THREADS-th bucket.
// Set by the launcher: THREADS. Uses: staircase_bucket.
var<workgroup> buckets: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn staircase_count(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = workgroup_number(id, groups);
  let head = segment / args.segments;
  let i = segment % args.segments * THREADS + lane;
  let is_row = i < args.T && head < args.B * args.H;
  buckets[lane] = args.group_count + 1u;
  if (is_row) { buckets[lane] = bucket_of(load_row_groups(row_row_groups(head / args.H, i) + head % args.H)); }
  workgroupBarrier();  // guards the buckets: all are written
  if (head >= args.B * args.H) { return; }
  for (var bucket = lane; bucket <= args.group_count; bucket += THREADS) {
    var count = 0;
    for (var j = 0u; j < THREADS; j++) { count += select(0, 1, buckets[j] == bucket); }
    store_counts(segment * (args.group_count + 1u) + bucket, count);
  }
}
