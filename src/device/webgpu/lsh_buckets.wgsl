// lshBuckets: bucket = argmax of [x R; -x R], the lowest index on a tie.
// Inputs:  x [B,T,H,D] strided; rotations [H,D,half]. Output: out i32 [B,T,H].
// Numbers: B, T, H, D, half (buckets / 2), tiles (ceil(T / THREADS)).
// Grid:    B * H * tiles workgroups; a thread owns a row, and its neighbours read the same rotations.
// Set by the launcher: THREADS.
// Numerics: f32, summed in the order of D; COLUMNS rotations at a time, so that x is read half / COLUMNS times.
// Paper:   Reformer, arXiv 2001.04451.
const COLUMNS = 4u;

@compute @workgroup_size(THREADS)
fn lsh_buckets(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = workgroup_number(id, groups);
  let t = group % args.tiles * THREADS + lane;
  let h = group / args.tiles % args.H;
  let b = group / args.tiles / args.H;
  if (t >= args.T || b >= args.B) { return; }
  let row = row_x(b, t, h);
  let rotations = h * args.D * args.half;
  var best = -1.0;
  var bucket = 0u;
  for (var first = 0u; first < args.half; first += COLUMNS) {
    var sums = vec4<f32>();
    let own = min(COLUMNS, args.half - first);
    for (var d = 0u; d < args.D; d++) {
      let value = load_x(row + d);
      let place = rotations + d * args.half + first;
      for (var c = 0u; c < own; c++) { sums[c] += value * load_rotations(place + c); }
    }
    for (var c = 0u; c < own; c++) {
      // Of equals the lowest index wins: the half of the positive sums comes first.
      let size = abs(sums[c]);
      let index = first + c + select(0u, args.half, sums[c] < 0.0);
      if (size > best || (size == best && index < bucket)) {
        best = size;
        bucket = index;
      }
    }
  }
  store_out((b * args.T + t) * args.H + h, i32(bucket));
}
