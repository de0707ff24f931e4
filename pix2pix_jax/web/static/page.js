// The page: what is on it, and what happens when the drawing changes.

import { createCanvas } from './canvas.js';
import { isolate } from './isolate.js';
import { startModel } from './model.js';
import { takePictures } from './pictures.js';

const find = (selector) => document.querySelector(selector);
const [status, error, progress] = ['#status', '#error', '#progress'].map(find);

function say(text) {
  status.textContent = text;
}

function fail(text) {
  error.textContent = text;
  error.hidden = !text;
}

// The drawing: gr.HTML of the demo has such a `props` and `watch`.
function openCanvas(url) {
  const watchers = [];
  let value = url;
  const props = {
    get value() {
      return value;
    },
    set value(next) {
      value = next;
      for (const watcher of watchers) watcher();
    },
  };
  createCanvas(find('#canvas'), props, (_, watcher) => watchers.push(watcher));
  return props;
}

// The first drawing: the first example, or blank paper.
function firstDrawing(drawing) {
  const example = find('#examples img');
  if (example) return example.src;
  const context = drawing.getContext('2d', { willReadFrequently: true });
  context.fillStyle = drawing.dataset.paper;
  context.fillRect(0, 0, drawing.width, drawing.height);
  return drawing.toDataURL('image/png');
}

function showExamples(props) {
  for (const button of document.querySelectorAll('#examples button')) {
    button.addEventListener('click', () => {
      props.value = asUrl(button.querySelector('img'));
    });
  }
}

function asUrl(image) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0);
  return canvas.toDataURL('image/png');
}

function offerViews(views, changed) {
  const select = find('#views select');
  views.forEach((view, i) => select.append(new Option(view.name, i)));
  find('#views').hidden = views.length < 2;
  select.addEventListener('change', () => changed(Number(select.value)));
}

function save() {
  find('#output').toBlob((blob) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = 'translation.png';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// Translates the drawing whenever it changes; what changes while one is computed counts once.
function translateChanges(model) {
  const drawing = find('#canvas canvas');
  const output = find('#output');
  let busy = false;
  let wanted = false;
  let fresh = false; // whether another noise is to be drawn first
  let view = 0;

  async function translate() {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      try {
        if (fresh) {
          fresh = false;
          await model.again();
        }
        const context = drawing.getContext('2d', { willReadFrequently: true });
        const picture = context.getImageData(0, 0, drawing.width, drawing.height);
        const { image, milliseconds } = await model.translate(picture, view);
        [output.width, output.height] = [image.width, image.height];
        output.getContext('2d').putImageData(image, 0, 0);
        find('#latency').textContent = `${(milliseconds / 1000).toFixed(2)} s, ${model.about}`;
        find('#save').disabled = false;
        output.dataset.count = Number(output.dataset.count ?? 0) + 1;
        fail('');
      } catch (problem) {
        fail(`The picture could not be translated: ${problem.message}`);
      }
    }
    busy = false;
  }

  drawing.addEventListener('drawn', translate);
  find('#again').addEventListener('click', () => {
    fresh = true;
    translate();
  });
  return {
    translate,
    show(next) {
      view = next;
      translate();
    },
  };
}

async function loadModel(page, threads) {
  find('#load').hidden = true;
  progress.hidden = false;
  const started = performance.now();
  try {
    const model = await startModel(page, threads, (share, text) => {
      progress.value = share;
      say(text);
    });
    const translations = translateChanges(model);
    offerViews(page.output.views, translations.show);
    find('#again').hidden = !page.noise;
    await translations.translate();
    say(`The model is loaded (${((performance.now() - started) / 1000).toFixed(1)} s).`);
    document.body.dataset.ready = 'true';
  } catch (problem) {
    say('');
    fail(`The model could not be loaded: ${problem.message}. ${find('#about-memory').textContent}`);
    find('#load').hidden = false;
  }
  progress.hidden = true;
}

// What an export says, as it is on the host now: it names the parts of the model, which another
// export replaces.
async function read(name) {
  const response = await fetch(name, { cache: 'no-cache' });
  if (!response.ok) throw new Error(`${name}: the host answers ${response.status}`);
  return response.json();
}

async function start() {
  find('#unserved').hidden = true;
  const isolated = await isolate();
  const page = await read('page.json');
  const props = openCanvas(firstDrawing(find('#canvas canvas')));
  showExamples(props);
  takePictures(page, {
    found: (url) => {
      fail('');
      props.value = url;
    },
    fail,
  });
  find('#save').addEventListener('click', save);
  const most = isolated ? Math.min(page.max_threads, navigator.hardwareConcurrency ?? 1) : 1;
  const load = () => loadModel(page, most);
  find('#load').addEventListener('click', load);
  if (page.loads_itself) await load();
  else find('#load').hidden = false;
}

start().catch((problem) => fail(`The page could not start: ${problem.message}`));
