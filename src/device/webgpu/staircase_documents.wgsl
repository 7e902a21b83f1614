// staircase_documents: where the run of equal ids that a position lies in begins.
// Input:   documents i32 [B,Tk] strided. Output: document_starts i32 [B,Tk].
// Numbers: B, Tk.
// Grid:    B workgroups; a thread owns a run of ceil(Tk / THREADS) positions.
// Set by the launcher: THREADS.
var<workgroup> last_starts: array<i32, THREADS>;  // in a thread's positions, -1 for none

@compute @workgroup_size(THREADS)
fn staircase_documents(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = workgroup_number(id, groups);
  if (b >= args.B) { return; }
  let ids = row_documents(b);
  let share = (args.Tk + THREADS - 1u) / THREADS;
  let begin = min(lane * share, args.Tk);
  let end = min(begin + share, args.Tk);

  // Find.
  var start = -1;
  for (var j = begin; j < end; j++) {
    if (j == 0u || load_documents(ids + j) != load_documents(ids + max(j, 1u) - 1u)) { start = i32(j); }
  }
  last_starts[lane] = start;
  workgroupBarrier();  // guards the starts: all threads have found theirs

  // Store.
  start = 0;
  for (var before = 0u; before < lane; before++) { start = max(start, last_starts[before]); }
  for (var j = begin; j < end; j++) {
    if (j > 0u && load_documents(ids + j) != load_documents(ids + j - 1u)) { start = i32(j); }
    store_document_starts(b * args.Tk + j, start);
  }
}
