// What the network takes of a picture, and the picture of what it gives. A picture has `width`,
// `height` and `data`, RGBA of 8 bits; the network's numbers are on [-1, 1], channels last.

import { lightness, toRgb } from './color.js';
import { bicubic } from './resize.js';

const LUMA = [0.299, 0.587, 0.114];
const NONE = [255, 255, 255]; // of no class

// Returns {values, channels}, as `spec` (page.input) says.
export function toInput(picture, spec) {
  const [height, width] = spec.scaled;
  const isScaled = picture.width !== width || picture.height !== height;
  const { data } = isScaled ? bicubic(picture, width, height) : picture;
  const { channels, of } = KINDS[spec.kind](spec);
  const values = new Float32Array(channels * width * height);
  for (let i = 0; i < width * height; i++) {
    of(data[4 * i], data[4 * i + 1], data[4 * i + 2], values, channels * i);
  }
  return { values, channels };
}

const onUnit = (value) => value / 127.5 - 1;

function luma(red, green, blue) {
  return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue;
}

// How a pixel (r, g, b) is written into `values` from `at` on.
const KINDS = {
  rgb: () => ({
    channels: 3,
    of: (r, g, b, values, at) => values.set([onUnit(r), onUnit(g), onUnit(b)], at),
  }),
  rgba: () => ({
    channels: 4,
    of: (r, g, b, values, at) => values.set([onUnit(r), onUnit(g), onUnit(b), 1], at),
  }),
  gray: ({ rounded }) => ({
    channels: 1,
    of: (r, g, b, values, at) => {
      const gray = luma(r, g, b);
      values[at] = onUnit(rounded ? Math.round(gray) : gray);
    },
  }),
  lightness: () => ({
    channels: 1,
    of: (r, g, b, values, at) => {
      values[at] = lightness(r / 255, g / 255, b / 255) / 50 - 1;
    },
  }),
  classes: ({ classes, none }) => {
    const colours = [...classes, ...none];
    return {
      channels: classes.length,
      of: (r, g, b, values, at) => {
        values.fill(-1, at, at + classes.length);
        const index = nearestColour([r, g, b], colours);
        if (index < classes.length) values[at + index] = 1;
      },
    };
  },
};

// The number of the colour of `colours` that is nearest, the first of several.
export function nearestColour(rgb, colours) {
  let [best, smallest] = [0, Infinity];
  colours.forEach((colour, i) => {
    const distance = squaredDistance(rgb, colour);
    if (distance < smallest) [best, smallest] = [i, distance];
  });
  return best;
}

export function squaredDistance(rgb, colour) {
  return rgb.reduce((sum, value, i) => sum + (value - colour[i]) ** 2, 0);
}

// Returns RGBA of the network's output, as `spec` (page.output) says; of several channels those of
// one of its views.
export function toPicture(output, input, spec, view) {
  const { channels } = spec;
  const count = output.length / channels;
  const pixels = new Uint8ClampedArray(4 * count); // which rounds and clips
  const colourOf = {
    image: imageColour(spec.views[view].channels),
    classes: (values) => classColour(values, spec.classes),
    lab: (values, i) => labColour(values, input[i]),
  }[spec.kind];
  for (let i = 0; i < count; i++) {
    pixels.set(colourOf(output.subarray(channels * i, channels * (i + 1)), i), 4 * i);
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

// Of one channel gray, of three RGB, of four RGBA over white.
function imageColour(shown) {
  const unit = (value) => (Math.max(-1, Math.min(1, value || 0)) + 1) / 2;
  return (values) => {
    const [r, g, b, a] = shown.map((channel) => unit(values[channel]));
    if (shown.length === 1) return [255 * r, 255 * r, 255 * r];
    const opacity = a ?? 1;
    return [r, g, b].map((value) => 255 * (value * opacity + 1 - opacity));
  };
}

function classColour(values, classes) {
  const highest = Math.max(...values);
  return highest > -1 ? classes[values.indexOf(highest)] : NONE;
}

function labColour(values, input) {
  const [a, b] = values;
  return toRgb(50 * input + 50, 110 * a, 110 * b).map((value) => 255 * value);
}
