// The demo's canvas: runs once on a page, in gr.HTML's function of element, props and watch.
// props.value is the drawing, a PNG as a data URL, with exactly the pixels of the canvas: edges are
// hard, so that a label map has no colours between its labels.

const canvas = element.querySelector('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true });
const [size, picker] = ['input[type=range]', 'input[type=color]'].map((s) => element.querySelector(s));
const paper = canvas.dataset.paper;
const MAX_UNDOS = 30;

let tool = 'pen';
let colour = canvas.dataset.brush;
let undos = [];
let from = null; // where the stroke or the box under way began
let before = null; // the pixels at that time
let shown = ''; // the drawing that is on the canvas

function pixels() {
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function put(image) {
  canvas.width = image.width;
  canvas.height = image.height;
  context.putImageData(image, 0, 0);
}

function remember() {
  undos = [...undos, pixels()].slice(-MAX_UNDOS);
}

function send() {
  shown = canvas.toDataURL('image/png');
  props.value = shown;
}

function show(url) {
  shown = url;
  const image = new Image();
  image.onload = () => {
    if (url !== shown) return; // another came meanwhile
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    context.drawImage(image, 0, 0);
  };
  image.src = url;
}

function pixelAt(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: Math.floor(((event.clientX - box.left) * canvas.width) / box.width),
    y: Math.floor(((event.clientY - box.top) * canvas.height) / box.height),
  };
}

// A disc with hard edges, a row at a time.
function dab({ x, y }) {
  const diameter = Number(size.value);
  const corner = Math.floor(diameter / 2);
  for (let row = 0; row < diameter; row++) {
    const rise = row + 0.5 - diameter / 2;
    const chord = 2 * Math.sqrt(diameter ** 2 / 4 - rise ** 2);
    const inset = Math.round((diameter - chord) / 2);
    context.fillRect(x - corner + inset, y - corner + row, diameter - 2 * inset, 1);
  }
}

function line(a, b) {
  const steps = Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y), 1);
  for (let i = 0; i <= steps; i++) {
    dab({
      x: Math.round(a.x + ((b.x - a.x) * i) / steps),
      y: Math.round(a.y + ((b.y - a.y) * i) / steps),
    });
  }
}

function box(a, b) {
  context.putImageData(before, 0, 0);
  const [left, top] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  context.fillRect(left, top, Math.abs(b.x - a.x) + 1, Math.abs(b.y - a.y) + 1);
}

canvas.addEventListener('pointerdown', (event) => {
  if (event.button !== 0 || from) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  context.fillStyle = colour;
  before = pixels();
  from = pixelAt(event);
  if (tool === 'pen') dab(from);
});

canvas.addEventListener('pointermove', (event) => {
  if (!from) return;
  const to = pixelAt(event);
  if (tool === 'box') {
    box(from, to);
  } else {
    line(from, to);
    from = to;
  }
});

for (const end of ['pointerup', 'pointercancel']) {
  canvas.addEventListener(end, () => {
    if (!from) return;
    from = null;
    send();
  });
}

function press(buttons, one) {
  for (const button of buttons) button.setAttribute('aria-pressed', button === one);
}

const tools = element.querySelectorAll('[data-tool]');
for (const button of tools) {
  button.addEventListener('click', () => {
    tool = button.dataset.tool;
    press(tools, button);
  });
}

const colours = element.querySelectorAll('[data-colour]');
for (const button of colours) {
  button.addEventListener('click', () => {
    colour = button.dataset.colour;
    press(colours, button);
  });
}
picker?.addEventListener('input', () => {
  colour = picker.value;
  press(colours, null);
});

element.querySelector('[data-do=undo]').addEventListener('click', () => {
  if (!undos.length) return;
  put(undos.pop());
  send();
});

element.querySelector('[data-do=clear]').addEventListener('click', () => {
  remember();
  canvas.width = canvas.dataset.width;
  canvas.height = canvas.dataset.height;
  context.fillStyle = paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  send();
});

watch('value', () => {
  if (!props.value || props.value === shown) return;
  remember();
  show(props.value);
});
show(props.value);
