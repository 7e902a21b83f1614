// Sums and maxima over LANES neighbouring threads, in a fixed order: a workgroup of THREADS has THREADS / LANES such teams
// (both powers of two). All threads must call; all of a team get its result. Constants: THREADS, LANES.
var<workgroup> shared_values: array<f32, THREADS>;

fn sum_of_team(value: f32, thread: u32) -> f32 {
  workgroupBarrier();  // guards the values: an earlier result has been read
  shared_values[thread] = value;
  workgroupBarrier();  // guards the values: all are written
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    if (thread % LANES < width) { shared_values[thread] += shared_values[thread + width]; }
    workgroupBarrier();  // guards the values: this round's are written before the next reads
  }
  return shared_values[thread - thread % LANES];
}

fn max_of_team(value: f32, thread: u32) -> f32 {
  workgroupBarrier();  // guards the values: an earlier result has been read
  shared_values[thread] = value;
  workgroupBarrier();  // guards the values: all are written
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    if (thread % LANES < width) { shared_values[thread] = max(shared_values[thread], shared_values[thread + width]); }
    workgroupBarrier();  // guards the values: this round's are written before the next reads
  }
  return shared_values[thread - thread % LANES];
}
