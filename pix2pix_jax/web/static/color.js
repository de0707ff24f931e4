// CIE Lab (D65, 2 degrees) of sRGB, as scikit-image has it.

const TO_XYZ = [
  [0.412453, 0.35758, 0.180423],
  [0.212671, 0.71516, 0.072169],
  [0.019334, 0.119193, 0.950227],
];
const TO_RGB = [
  [3.240481342, -1.537151516, -0.498536326],
  [-0.969254949, 1.875990001, 0.041555926],
  [0.05564664, -0.204041338, 1.057311070],
];
const WHITE = [0.95047, 1, 1.08883];

function linear(value) {
  return value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92;
}

function gamma(value) {
  return value > 0.0031308 ? 1.055 * value ** (1 / 2.4) - 0.055 : 12.92 * value;
}

// L, 0 to 100, of red, green and blue, 0 to 1.
export function lightness(red, green, blue) {
  const [r, g, b] = TO_XYZ[1];
  const y = r * linear(red) + g * linear(green) + b * linear(blue);
  return 116 * (y > 0.008856 ? Math.cbrt(y) : 7.787 * y + 16 / 116) - 16;
}

// Red, green and blue, 0 to 1, clipped where sRGB has no such colour.
export function toRgb(l, a, b) {
  const y = (l + 16) / 116;
  const xyz = [a / 500 + y, y, Math.max(0, y - b / 200)].map((value, i) => {
    return WHITE[i] * (value > 0.2068966 ? value ** 3 : (value - 16 / 116) / 7.787);
  });
  return TO_RGB.map((row) => {
    const value = gamma(row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]);
    return Math.max(0, Math.min(1, value));
  });
}
