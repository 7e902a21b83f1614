// keepMask: out[i] = 1 where word 0 of threefry2x32-20 with the given key at counter (i, 0) is below the threshold.
// Input:   key u32 [2] (seed, stream). Output: out i32 [count].
// Numbers: count, threshold (keep * 2^32, rounded up), keeps_all (1: the threshold is 2^32).
// Grid:    ceil(count / THREADS) workgroups; a thread owns an element.
// Set by the launcher: THREADS.
// Follows Salmon, Moraes, Dror and Shaw, SC 2011; rng.ts has the same on the host.
const ROTATIONS = array<vec4<u32>, 2>(vec4(13u, 15u, 26u, 6u), vec4(17u, 29u, 16u, 24u));
const SKEIN_PARITY = 0x1bd11bdau;

fn threefry_word(key: vec2<u32>, counter: u32) -> u32 {
  var schedule = array<u32, 3>(key.x, key.y, SKEIN_PARITY ^ key.x ^ key.y);
  var x0 = counter + key.x;
  var x1 = key.y;
  for (var group = 1u; group <= 5u; group++) {
    var rotations = ROTATIONS[0];
    if (group % 2u == 0u) { rotations = ROTATIONS[1]; }
    for (var i = 0u; i < 4u; i++) {
      x0 += x1;
      x1 = ((x1 << rotations[i]) | (x1 >> (32u - rotations[i]))) ^ x0;
    }
    x0 += schedule[group % 3u];
    x1 += schedule[(group + 1u) % 3u] + group;
  }
  return x0;
}

@compute @workgroup_size(THREADS)
fn keep_mask(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroup_number(id, groups) * THREADS + lane;
  if (i >= args.count) { return; }
  let word = threefry_word(vec2(load_key(0u), load_key(1u)), i);
  store_out(i, select(0, 1, word < args.threshold || args.keeps_all == 1u));
}
