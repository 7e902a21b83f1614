// What kernels of product.ts share: which tile a workgroup owns, and what is done to the sums. Over packs.
// Numbers: M, N, tiles_m, tiles_n. Operands: bias, slope_of, residual, out, pre_gelu; see product.wgsl.

/** Rows of tiles that are worked on together, so that the tiles of b which they read are in the cache for all. */
const BAND = 8u;

struct Place {
  run: u32,
  m: u32,
  n: u32,
}

/** The tile and the run of K of a workgroup: down the columns of a band, then along it. */
fn tile_of(group: u32) -> Place {
  let tiles = args.tiles_m * args.tiles_n;
  let tile = group % tiles;
  let first = tile / (BAND * args.tiles_n) * BAND;
  let height = min(BAND, args.tiles_m - first);
  let within = tile - first * args.tiles_n;
  return Place(group / tiles, first + within % height, within / height);
}

/** @param n the first column of a pack */
fn store_with_epilogue(run: u32, m: u32, n: u32, sum: Pack) {
  let place = (m * args.N + n) / WIDTH;
  var value = sum;
  if (HAS_BIAS) { value += load_bias(n / WIDTH); }
  if (HAS_PRE_GELU) {
    store_pre_gelu(place, value);
    value = gelu(value);
  }
  if (HAS_SLOPE_OF) { value *= gelu_slope(load_slope_of(place)); }
  if (HAS_RESIDUAL) { value += load_residual(place); }
  store_out((run * args.M * args.N) / WIDTH + place, value);
}
