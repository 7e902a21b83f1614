// Sums and maxima over a workgroup of THREADS threads (a power of two), in a fixed order. All threads must call; all get
// the result. Constants: THREADS.
var<workgroup> shared_values: array<f32, THREADS>;

fn sum_of_group(value: f32, lane: u32) -> f32 {
  workgroupBarrier();  // guards the values: an earlier result has been read
  shared_values[lane] = value;
  workgroupBarrier();  // guards the values: all are written
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (lane < width) { shared_values[lane] += shared_values[lane + width]; }
    workgroupBarrier();  // guards the values: this round's are written before the next reads
  }
  return shared_values[0];
}

fn max_of_group(value: f32, lane: u32) -> f32 {
  workgroupBarrier();  // guards the values: an earlier result has been read
  shared_values[lane] = value;
  workgroupBarrier();  // guards the values: all are written
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (lane < width) { shared_values[lane] = max(shared_values[lane], shared_values[lane + width]); }
    workgroupBarrier();  // guards the values: this round's are written before the next reads
  }
  return shared_values[0];
}
