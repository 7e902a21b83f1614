// rope: feature i and i + D/2 of each row are turned by (first_position + t) * base^(-2i/D).
// Inputs:  x [B,T,H,D] strided; turns u32 [D/2, 2]: the turn of one position as a fraction of a whole turn, times 2^64,
//          lower word first. Output: out likewise, which may be x.
// Numbers: count (B * T * H * D/2), T, H, half (D/2), first_position.
// Grid:    ceil(count / THREADS) workgroups; a thread owns a pair.
// Set by the launcher: THREADS.
// Numerics: f32. Angles are whole numbers, so that whole turns vanish exactly; sine and cosine are polynomials, because
//          WGSL asks for no more than 2^-11 of its own.
// Paper:   RoFormer, arXiv 2104.09864; the half-split layout of GPT-NeoX.

/** The upper word of a product of two words. */
fn upper_product(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let other = a0 * b1 + (middle & 0xffffu);
  return a1 * b1 + (middle >> 16u) + (other >> 16u);
}

/** Cosine and sine of an angle of at most an eighth of a turn, by Taylor's series. */
fn cosine_sine(angle: f32) -> vec2<f32> {
  let s = angle * angle;
  let sine = angle + angle * s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s / 362880.0)));
  let cosine = 1.0 - 0.5 * s + s * s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s * (1.0 / 40320.0 - s / 3628800.0)));
  return vec2(cosine, sine);
}

@compute @workgroup_size(THREADS)
fn rope(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = workgroup_number(id, groups) * THREADS + lane;
  if (place >= args.count) { return; }
  let i = place % args.half;
  let n = place / args.half;
  let h = n % args.H;
  let t = n / args.H % args.T;
  let b = n / args.H / args.T;

  let position = args.first_position + t;
  let turn = position * load_turns(2u * i + 1u) + upper_product(position, load_turns(2u * i));
  let quarter = (turn + 0x20000000u) >> 30u;
  let rest = cosine_sine(f32(bitcast<i32>(turn - (quarter << 30u))) * 1.4629180792671596e-9);  // 2 pi / 2^32
  var cosine = select(rest.x, rest.y, (quarter & 1u) == 1u);
  var sine = select(rest.y, rest.x, (quarter & 1u) == 1u);
  if (quarter == 1u || quarter == 2u) { cosine = -cosine; }
  if (quarter >= 2u) { sine = -sine; }

  let from_row = row_x(b, t, h) + i;
  let to_row = row_out(b, t, h) + i;
  let low = load_x(from_row);
  let high = load_x(from_row + args.half);
  store_out(to_row, low * cosine - high * sine);
  store_out(to_row + args.half, high * cosine + low * sine);
}
