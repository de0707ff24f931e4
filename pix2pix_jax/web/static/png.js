// The numbers in a PNG of gray or of a palette, which a browser shows as colours: class indices.

const [GRAY, PALETTE] = [0, 3]; // kinds of a PNG
const [PNG, IDAT] = [0x89504e47, 0x49444154];

// Returns {width, height, values} of a file's numbers, null of what is no such PNG.
export async function readIndices(file) {
  const view = new DataView(await file.arrayBuffer());
  if (view.byteLength < 33 || view.getUint32(0) !== PNG) return null;
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, kind, isInterlaced] = [24, 25, 28].map((at) => view.getUint8(at));
  if (kind !== GRAY && kind !== PALETTE) return null;
  if (isInterlaced) throw new Error(`${file.name} is interlaced: allowed is a PNG that is not`);
  const rows = unfiltered(await inflated(view), height, Math.ceil((width * depth) / 8), depth);
  const values = new Uint16Array(width * height);
  rows.forEach((row, y) => {
    for (let x = 0; x < width; x++) values[y * width + x] = numberAt(row, x, depth);
  });
  return { width, height, values };
}

async function inflated(view) {
  const parts = [];
  for (let at = 8; at + 8 <= view.byteLength; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === IDAT) {
      parts.push(new Uint8Array(view.buffer, at + 8, view.getUint32(at)));
    }
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The rows of bytes, from what each differs by from those before it and above.
function unfiltered(bytes, height, length, depth) {
  const pixel = Math.ceil(depth / 8);
  let above = new Uint8Array(length);
  return Array.from({ length: height }, (_, y) => {
    const start = y * (length + 1);
    const row = bytes.slice(start + 1, start + 1 + length);
    const filter = FILTERS[bytes[start]];
    for (let i = 0; i < length; i++) {
      const [left, corner] = i < pixel ? [0, 0] : [row[i - pixel], above[i - pixel]];
      row[i] += filter(left, above[i], corner);
    }
    above = row;
    return row;
  });
}

const FILTERS = [
  () => 0,
  (left) => left,
  (left, above) => above,
  (left, above) => (left + above) >> 1,
  (left, above, corner) => {
    const guess = left + above - corner;
    const [a, b, c] = [left, above, corner].map((value) => Math.abs(guess - value));
    return a <= b && a <= c ? left : b <= c ? above : corner;
  },
];

// The number of a row of bytes at a pixel, of 1 to 16 bits.
function numberAt(row, x, depth) {
  if (depth === 16) return 256 * row[2 * x] + row[2 * x + 1];
  const place = x * depth;
  return (row[place >> 3] >> (8 - depth - (place & 7))) & (2 ** depth - 1);
}
