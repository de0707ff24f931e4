// Loads the runtime and the model, and translates pictures; answers each message with one.

import { loadFile, openCache, removeOthers } from './loading.js';
import { normal } from './noise.js';
import { toInput, toPicture } from './pixels.js';

let page = null;
let ort = null;
let session = null;
let noise = null; // Float32Array, of a flow: what its translations begin with
let last = null; // {picture, input, output} of the last translation

async function load(message) {
  page = message.page;
  const { wasm, model } = page;
  const files = [wasm, model, ...(page.noise ? [page.noise] : [])];
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let loaded = 0;
  const progress = (count) => {
    loaded += count;
    const [now, all] = [loaded, total].map((bytes) => (bytes / 1e6).toFixed(0));
    postMessage({ progress: [loaded / total, `Loading the model: ${now} of ${all} MB`] });
  };
  const cache = await openCache(new URL('.', self.location.href).pathname);
  await removeOthers(cache, files);
  ort = await import(new URL(page.module, self.location.href).href);
  ort.env.wasm.numThreads = message.threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(page.loader, self.location.href).href };
  ort.env.wasm.wasmBinary = (await loadFile(wasm, progress, cache)).buffer;
  ort.env.logLevel = 'error';
  const bytes = await loadFile(model, progress, cache);
  if (page.noise) noise = new Float32Array((await loadFile(page.noise, progress, cache)).buffer);
  postMessage({ progress: [1, 'Preparing the model'] });
  const provider = await start(bytes, page.webgpu && 'gpu' in navigator);
  const { numThreads } = ort.env.wasm;
  if (provider === 'webgpu') return 'WebGPU';
  return numThreads > 1 ? `${numThreads} threads` : '1 thread';
}

// Creates the session; returns the provider that runs it.
async function start(bytes, tryGpu) {
  if (tryGpu && (await navigator.gpu.requestAdapter().catch(() => null))) {
    try {
      session = await ort.InferenceSession.create(bytes, { executionProviders: ['webgpu'] });
      return 'webgpu';
    } catch {
      // it cannot run this model
    }
  }
  // As it was exported: its optimisations would keep the kernels in float32, too, in twice as many
  // bytes. (Of a U-Net of 103 MB the page took 566 MB at most, with them 819 MB, and no less time.)
  session = await ort.InferenceSession.create(bytes, {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'disabled',
  });
  return 'wasm';
}

async function translate({ picture, view }) {
  const started = performance.now();
  if (!same(picture, last?.picture)) {
    const input = toInput(picture, page.input);
    const [height, width] = page.input.scaled;
    const tensor = (values, channels) =>
      new ort.Tensor('float32', values, [1, height, width, channels]);
    const found = await session.run({
      input: tensor(input.values, input.channels),
      ...(noise && { noise: tensor(noise, page.output.channels) }),
    });
    last = { picture, input, output: await found.output.getData() };
  }
  const [height, width] = page.input.scaled;
  const pixels = toPicture(last.output, last.input.values, page.output, view);
  return { pixels, width, height, milliseconds: performance.now() - started };
}

// Another noise, with which the same picture is translated anew.
function again() {
  noise = normal(noise.length);
  last = null;
}

function same(picture, other) {
  return (
    other !== undefined &&
    picture.width === other.width &&
    picture.data.every((value, i) => value === other.data[i])
  );
}

self.onmessage = async ({ data }) => {
  try {
    const work = data.page ? load : data.again ? again : translate;
    postMessage({ answer: await work(data) });
  } catch (problem) {
    postMessage({ error: String(problem.message ?? problem) });
  }
};
