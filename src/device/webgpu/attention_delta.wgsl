// attentionDelta: delta[b,h,i] = sum over D of dout * o.
// Inputs:  o, dout [B,Tq,H,D] strided. Output: delta [B,H,Tq] strided.
// Numbers: N (B * Tq * H), T (Tq), H, D.
// Grid:    ceil(N / ROWS) workgroups; a thread owns a row, and all load the rows together, a chunk of features at a time.
// Workgroup memory: 2 * ROWS * STRIDE * 4 bytes: less than the 16 KiB that every GPU has.
// Numerics: f32, in the order in which with_products of attention_tile.wgsl adds: where a query sees one key, o is that key's
//          v, and dout v^T - delta is exactly 0.
const ROWS = 64u;
const CHUNK = 16u;
const STRIDE = CHUNK + 1u;  // so that threads which read a column meet different banks

var<workgroup> o_tile: array<f32, ROWS * STRIDE>;
var<workgroup> dout_tile: array<f32, ROWS * STRIDE>;

fn load_chunk(first: u32, chunk: u32, thread: u32) {
  for (var i = thread; i < ROWS * CHUNK; i += ROWS) {
    let n = first + i / CHUNK;
    let d = chunk + i % CHUNK;
    var pair = vec2<f32>();
    if (n < args.N && d < args.D) {
      let h = n % args.H;
      let t = n / args.H % args.T;
      let b = n / args.H / args.T;
      pair = vec2(load_o(row_o(b, t, h) + d), load_dout(row_dout(b, t, h) + d));
    }
    o_tile[i / CHUNK * STRIDE + i % CHUNK] = pair.x;
    dout_tile[i / CHUNK * STRIDE + i % CHUNK] = pair.y;
  }
}

@compute @workgroup_size(ROWS)
fn attention_delta(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = workgroup_number(id, groups) * ROWS;
  var total = 0.0;
  for (var chunk = 0u; chunk < args.D; chunk += CHUNK) {
    workgroupBarrier();  // guards the tiles: the last chunk is added up
    load_chunk(first, chunk, thread);
    workgroupBarrier();  // guards the tiles: both are loaded
    for (var d = 0u; d < CHUNK; d++) { total = fma(dout_tile[thread * STRIDE + d], o_tile[thread * STRIDE + d], total); }
  }
  let n = first + thread;
  if (n < args.N) { store_delta(row_delta(n / args.H / args.T, n % args.H) + n / args.H % args.T, total); }
}
