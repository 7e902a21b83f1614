// GELU in the tanh form of GPT-2 (Hendrycks and Gimpel, arXiv 1606.08415), as x * sigmoid(2 sqrt(2/pi) (x + 0.044715
// x^3)): the same function, without the cancellation of 1 + tanh in the tail. Over packs.
const TWICE_SQRT_2_OVER_PI = 1.5957691216057308;
const CUBIC = 0.044715;
const LARGEST_EXPONENT = 80.0;  // keeps the exponential finite

/** exp(-2 sqrt(2/pi) (x + 0.044715 x^3)) */
fn gelu_tail(x: Pack) -> Pack {
  return exp(min(-TWICE_SQRT_2_OVER_PI * (x + CUBIC * x * x * x), Pack(LARGEST_EXPONENT)));
}

fn gelu(x: Pack) -> Pack { return x / (1.0 + gelu_tail(x)); }

fn gelu_slope(x: Pack) -> Pack {
  let tail = gelu_tail(x);
  let sigmoid = 1.0 / (1.0 + tail);
  let inner_slope = TWICE_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
  // tail * sigmoid is 1 - sigmoid, at most 1.
  return sigmoid + x * inner_slope * sigmoid * (tail * sigmoid);
}
