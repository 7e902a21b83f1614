// attentionDelta: delta[b,h,i] = sum over D of dout * o.
// Inputs:  o, dout [B,Tq,H,D], strided, in packs. Output: delta [B,H,Tq] strided.
// Numbers: N (B * Tq * H), T (Tq), H, packs (of a row).
// Grid:    ceil(N / THREADS) workgroups; a thread owns a row.
// Set by the launcher: THREADS. Uses: pack_1 or pack_4.
// Numerics: f32, in the order in which with_products of attention_tile.wgsl adds: where a query sees one key, o is that key's
//          v, and dout v^T - delta is exactly 0.

@compute @workgroup_size(THREADS)
fn attention_delta(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let n = workgroup_number(id, groups) * THREADS + thread;
  if (n >= args.N) { return; }
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;
  let from_o = row_o(b, t, h);
  let from_dout = row_dout(b, t, h);
  var total = 0.0;
  for (var at = 0u; at < args.packs; at++) {
    total = with_products_of_pack(total, load_dout(from_dout + at), load_o(from_o + at));
  }
  store_delta(row_delta(b, h) + t, total);
}
