// Label maps of the user, of class indices or in colours, as drawings in the page's colours.

import { nearestColour, squaredDistance } from './pixels.js';
import { readIndices } from './png.js';

const FAR = 50; // in RGB: such a colour is none of the classes'
const MAX_FAR = 0.05; // of the pixels
const WHITE = [255, 255, 255];

// The map of a file whose numbers are indices of the run's classes; null of any other file.
export async function mapOfIndices(file, spec) {
  const found = spec.indices ? await readIndices(file) : null;
  if (!found?.values.every((index) => isIndex(index, spec))) return null;
  const data = new Uint8ClampedArray(4 * found.values.length).fill(255);
  return inColours({ ...found, data }, classesOf(found.values, spec), spec);
}

// The map that a picture shows: in the run's own colours or in the page's, in which its pixels then
// are, or with gray pixels that are indices, as programs that know of no palette give them.
export function mapOfColours(picture, spec) {
  const { data } = picture;
  const pixels = Array.from({ length: data.length / 4 }, (_, i) => {
    return [...data.subarray(4 * i, 4 * i + 3)];
  });
  const readings = spec.tables.map((table) => nearestClasses(pixels, table));
  const best = readings.reduce((a, b) => (b.distance < a.distance ? b : a));
  const areIndices = ([r, g, b]) => r === g && g === b && isIndex(r, spec);
  if (best.distance > 0 && pixels.every(areIndices)) {
    return inColours(picture, classesOf(pixels.map(([index]) => index), spec), spec);
  }
  if (best.far > MAX_FAR * pixels.length) {
    throw new Error('The picture is no map of this model’s classes, in colours or as numbers.');
  }
  return inColours(picture, best.numbers, spec);
}

// The class of the nearest colour of a table, and by how much the pixels differ from it in all.
function nearestClasses(pixels, { classes, none }) {
  const colours = [...classes, ...none];
  const numbers = pixels.map((rgb) => nearestColour(rgb, colours));
  const distances = pixels.map((rgb, i) => squaredDistance(rgb, colours[numbers[i]]));
  return {
    numbers,
    distance: distances.reduce((sum, distance) => sum + distance, 0),
    far: distances.filter((distance) => distance > FAR ** 2).length,
  };
}

function isIndex(index, { classes, none_index: noneIndex }) {
  return index < classes.length || index === noneIndex;
}

// The classes of indices, -1 of none.
function classesOf(indices, { none_index: noneIndex }) {
  return Array.from(indices, (index) => (index === noneIndex ? -1 : index));
}

// The picture with the page's colour of each pixel's class; numbers that are none have no class.
function inColours(picture, numbers, { classes, none }) {
  numbers.forEach((number, i) => picture.data.set(classes[number] ?? none[0] ?? WHITE, 4 * i));
  return picture;
}
