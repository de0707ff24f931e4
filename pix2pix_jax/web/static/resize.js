// Sizes of pictures, as Pillow and the package's Python make them. A picture has `width`, `height`
// and `data`, RGBA of 8 bits.

function cubic(x) {
  const [a, d] = [-0.5, Math.abs(x)];
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

// For each place of a side that is resized: the first pixel that it is made of, and weights.
function weightsOf(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const end = Math.min(from, Math.trunc(center + 2 * stretch + 0.5));
    const found = [];
    for (let j = first; j < end; j++) found.push(cubic((j - center + 0.5) / stretch));
    const sum = found.reduce((a, b) => a + b, 0);
    return { first, weights: found.map((w) => w / sum) };
  });
}

// Resizes rows of `count` pixels that lie `step` numbers apart; the lines are `next` apart.
function resizeLines(data, lines, next, step, found, target, targetNext, targetStep) {
  for (let line = 0; line < lines; line++) {
    found.forEach(({ first, weights }, i) => {
      for (let channel = 0; channel < 4; channel++) {
        let sum = 0;
        const start = line * next + first * step + channel;
        for (let j = 0; j < weights.length; j++) sum += weights[j] * data[start + j * step];
        target[line * targetNext + i * targetStep + channel] = sum; // rounded and clipped
      }
    });
  }
}

// Bicubic, antialiased where it shrinks.
export function bicubic({ width, height, data }, newWidth, newHeight) {
  const across = new Uint8ClampedArray(4 * newWidth * height);
  resizeLines(
    data, height, 4 * width, 4, weightsOf(width, newWidth), across, 4 * newWidth, 4,
  );
  const result = new Uint8ClampedArray(4 * newWidth * newHeight);
  resizeLines(
    across, newWidth, 4, 4 * newWidth, weightsOf(height, newHeight), result, 4, 4 * newWidth,
  );
  return { width: newWidth, height: newHeight, data: result };
}

export function nearest({ width, height, data }, newWidth, newHeight) {
  const place = (i, to, from) => Math.floor(((i + 0.5) * from) / to + 1e-6);
  const result = new Uint8ClampedArray(4 * newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      const start = 4 * (place(y, newHeight, height) * width + place(x, newWidth, width));
      result.set(data.subarray(start, start + 4), 4 * (y * newWidth + x));
    }
  }
  return { width: newWidth, height: newHeight, data: result };
}

// The [height, width] to which a picture is scaled before its middle is cut out: as training does.
export function loadedSize({ width, height }, [rows, columns], preprocess) {
  if (preprocess === 'resize_and_crop') return [rows, columns];
  const wanted = preprocess.startsWith('scale_width') ? columns / width : 1;
  const scale = Math.max(wanted, rows / height, columns / width);
  return [Math.max(rows, Math.round(height * scale)), Math.max(columns, Math.round(width * scale))];
}

export function middle({ width, height, data }, [rows, columns]) {
  const [top, left] = [Math.floor((height - rows) / 2), Math.floor((width - columns) / 2)];
  const result = new Uint8ClampedArray(4 * rows * columns);
  for (let y = 0; y < rows; y++) {
    const start = 4 * ((top + y) * width + left);
    result.set(data.subarray(start, start + 4 * columns), 4 * y * columns);
  }
  return { width: columns, height: rows, data: result };
}
