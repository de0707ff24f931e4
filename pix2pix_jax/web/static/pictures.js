// Pictures of the user: from a file, the clipboard, a drop or the camera, as drawings.

import { mapOfColours, mapOfIndices } from './maps.js';
import { bicubic, loadedSize, middle, nearest } from './resize.js';

const MAX_PIXELS = 2 ** 22; // larger ones are first made smaller by the browser

// Calls `found` with the data URL of each picture that the user gives, `fail` with what is wrong.
export function takePictures(page, { found, fail }) {
  async function take(source, name) {
    try {
      found(toUrl(await asDrawing(source, name, page.input)));
    } catch (problem) {
      fail(problem.message);
    }
  }
  const takeFirst = (files) => {
    const file = [...(files ?? [])][0];
    if (file) take(file, file.name);
    return Boolean(file);
  };

  const upload = document.querySelector('#upload');
  upload.addEventListener('change', () => {
    takeFirst(upload.files);
    upload.value = '';
  });
  document.addEventListener('paste', (event) => {
    if (takeFirst(event.clipboardData?.files)) event.preventDefault();
  });
  const main = document.querySelector('main');
  for (const [type, isOver] of [['dragover', true], ['dragleave', false], ['drop', false]]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      main.classList.toggle('over', isOver);
      if (type === 'drop') takeFirst(event.dataTransfer?.files);
    });
  }
  offerCamera(take, fail);
}

function offerCamera(take, fail) {
  if (!navigator.mediaDevices?.getUserMedia) return; // not on plain http
  const [button, dialog] = ['#camera', '#shot'].map((id) => document.querySelector(id));
  const video = dialog.querySelector('video');
  const close = () => dialog.close();
  dialog.addEventListener('close', () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  });
  button.hidden = false;
  button.addEventListener('click', async () => {
    button.disabled = true; // a second stream would never be stopped
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: 'environment' },
      });
      dialog.showModal();
    } catch (problem) {
      fail(`The camera cannot be used: ${problem.message}`);
    } finally {
      button.disabled = false;
    }
  });
  dialog.querySelector('[data-do=close]').addEventListener('click', close);
  dialog.querySelector('[data-do=take]').addEventListener('click', async () => {
    if (!video.videoWidth) return; // it has not begun
    await take(video, 'what the camera shows');
    close();
  });
}

// Returns the picture that the canvas takes, of its size, scaled as training scales its images.
export async function asDrawing(source, name, spec) {
  const bitmap = await createImageBitmap(source).catch(() => {
    throw new Error(`${name} is no picture that this browser can read`);
  });
  const isMap = spec.kind === 'classes';
  const map = isMap && source instanceof Blob ? await mapOfIndices(source, spec) : null;
  const picture = map ?? pixelsOf(bitmap, spec);
  const [height, width] = loadedSize(picture, spec.size, spec.fit);
  const resize = { bicubic, nearest }[spec.resize];
  const isScaled = picture.width !== width || picture.height !== height;
  const drawing = middle(isScaled ? resize(picture, width, height) : picture, spec.size);
  return isMap && !map ? mapOfColours(drawing, spec) : drawing;
}

// The pixels of a bitmap over white; those of a large one made smaller, or, where training keeps
// the scale, of its middle.
function pixelsOf(bitmap, { size, fit, resize }) {
  let { width, height } = bitmap;
  let [left, top, scale] = [0, 0, 1];
  if (width * height > MAX_PIXELS) {
    if (fit === 'crop') {
      const [w, h] = [Math.max(size[1], 2048), Math.max(size[0], 2048)];
      const inside = (at) => Math.max(0, Math.floor(at));
      [left, top] = [inside((width - w) / 2), inside((height - h) / 2)];
      [width, height] = [Math.min(width, w), Math.min(height, h)];
    } else {
      scale = Math.sqrt(MAX_PIXELS / (width * height));
    }
  }
  const [columns, rows] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#fff';
  context.fillRect(0, 0, columns, rows);
  context.imageSmoothingEnabled = resize !== 'nearest';
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, left, top, width, height, 0, 0, columns, rows);
  return context.getImageData(0, 0, columns, rows);
}

function toUrl({ width, height, data }) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext('2d').putImageData(new ImageData(data, width, height), 0, 0);
  return canvas.toDataURL('image/png');
}
