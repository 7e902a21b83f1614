// Rows walked along four elements at a time: a kernel is written over packs, which operators and most functions take like
// numbers, and counts in packs. The launcher's packs.ts chooses between this and pack_1.wgsl.
alias Pack = vec4<f32>;
alias PackBits = vec4<u32>;
const WIDTH = 4u;

fn sum_of_pack(x: Pack) -> f32 { return (x.x + x.y) + (x.z + x.w); }
/** Adds a pack's products, one after the other. */
fn with_products_of_pack(sum: f32, x: Pack, y: Pack) -> f32 {
  return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
}
fn max_of_pack(x: Pack) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
fn part_of_pack(x: Pack, i: u32) -> f32 { return x[i]; }
fn pack_of_quad(x: vec4<f32>, first: u32) -> Pack { return x; }
fn places_in_pack() -> PackBits { return vec4(0u, 1u, 2u, 3u); }
