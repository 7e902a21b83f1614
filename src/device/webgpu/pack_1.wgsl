// Rows walked along one element at a time; see pack_4.wgsl.
alias Pack = f32;
alias PackBits = u32;
const WIDTH = 1u;

fn sum_of_pack(x: Pack) -> f32 { return x; }
fn with_products_of_pack(sum: f32, x: Pack, y: Pack) -> f32 { return fma(x, y, sum); }
fn max_of_pack(x: Pack) -> f32 { return x; }
fn part_of_pack(x: Pack, i: u32) -> f32 { return x; }
fn pack_of_quad(x: vec4<f32>, first: u32) -> Pack { return x[first]; }
fn places_in_pack() -> PackBits { return 0u; }
