// staircase_scan: from counts to places: where each bucket begins, and where the rows of each segment in it do.
// Outputs: counts i32 [heads, segments, group_count + 1]: how many there are, then where the first of them goes;
//          starts i32 [heads, group_count + 1]: how many rows have a lower bucket.
// Numbers: heads, group_count, segments.
// Grid:    heads workgroups; a thread owns every THREADS-th bucket.
// Set by the launcher: THREADS.
const MOST_BUCKETS = 257u;
var<workgroup> totals: array<i32, MOST_BUCKETS>;

@compute @workgroup_size(THREADS)
fn staircase_scan(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = workgroup_number(id, groups);
  if (head >= args.heads) { return; }
  let bucket_count = args.group_count + 1u;
  let first = head * args.segments * bucket_count;
  for (var bucket = lane; bucket < bucket_count; bucket += THREADS) {
    var total = 0;
    for (var s = 0u; s < args.segments; s++) { total += load_counts(first + s * bucket_count + bucket); }
    totals[bucket] = total;
  }
  workgroupBarrier();  // guards the totals: all are written
  for (var bucket = lane; bucket < bucket_count; bucket += THREADS) {
    var place = 0;
    for (var lower = 0u; lower < bucket; lower++) { place += totals[lower]; }
    store_starts(head * bucket_count + bucket, place);
    for (var s = 0u; s < args.segments; s++) {
      let at = first + s * bucket_count + bucket;
      let count = load_counts(at);
      store_counts(at, place);
      place += count;
    }
  }
}
