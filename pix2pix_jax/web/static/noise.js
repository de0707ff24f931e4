// Noise, what a flow begins with.

// Returns `length` standard normal numbers (Box and Muller, 1958); `random` gives uniform ones.
export function normal(length, random = Math.random) {
  const radius = () => Math.sqrt(-2 * Math.log(1 - random())); // 1 - random() is never 0
  return Float32Array.from({ length }, () => radius() * Math.cos(2 * Math.PI * random()));
}
