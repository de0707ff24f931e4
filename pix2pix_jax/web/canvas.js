// The canvas of the demo and of the exported page, with its tools: pen, box, colours, undo.
//
// `element` holds the HTML of drawing.canvas_html. `props.value` is the drawing, a PNG as a data
// URL, with exactly the pixels of the canvas: edges are hard, so that a label map has no colours
// between its labels. `watch('value', f)` calls f when others set it. Whenever the canvas shows
// another drawing it gets the event 'drawn'.

const MAX_UNDOS = 30;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function createCanvas(element, props, watch) {
  const find = (selector) => element.querySelector(selector);
  const canvas = find('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const [size, picker] = ['input[type=range]', 'input[type=color]'].map(find);
  const cursor = find('.cursor');
  const paper = canvas.dataset.paper;

  let tool = 'pen';
  let colour = canvas.dataset.brush;
  let undos = [];
  let from = null; // where the stroke or the box under way began
  let before = null; // the pixels at that time
  let pointer = null; // the finger or the mouse that draws; null: none does
  let at = null; // where the keys are
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

  function drawn() {
    canvas.dispatchEvent(new Event('drawn'));
  }

  function send() {
    shown = canvas.toDataURL('image/png');
    props.value = shown;
    drawn();
  }

  function show(url) {
    shown = url;
    const image = new Image();
    image.onload = () => {
      if (url !== shown) return; // another came meanwhile
      stop();
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      context.drawImage(image, 0, 0);
      drawn();
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

  // A stroke or a box: begins, goes on, ends. The mouse, fingers and keys do the same.

  function begin(place) {
    remember();
    context.fillStyle = colour;
    before = pixels();
    from = place;
    if (tool === 'pen') dab(from);
  }

  function move(to) {
    if (tool === 'box') {
      box(from, to);
    } else {
      line(from, to);
      from = to;
    }
  }

  function end() {
    from = null;
    send();
  }

  // What comes from elsewhere ends a stroke or a box that is under way.
  function stop() {
    from = null;
    pointer = null;
    at = null;
    showCursor();
  }

  function undo() {
    if (from || !undos.length) return;
    put(undos.pop());
    send();
  }

  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || from) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    at = null;
    showCursor();
    begin(pixelAt(event));
  });

  canvas.addEventListener('pointermove', (event) => {
    if (event.pointerId === pointer) move(pixelAt(event));
  });

  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      end();
    });
  }

  // Keys: arrows move a cursor (a brush's width with Shift), Space puts the brush down and up.

  function showCursor() {
    cursor.hidden = !at;
    if (!at) return;
    cursor.style.left = `${(100 * (at.x + 0.5)) / canvas.width}%`;
    cursor.style.top = `${(100 * (at.y + 0.5)) / canvas.height}%`;
    cursor.classList.toggle('down', from !== null);
  }

  function walk([right, down], steps) {
    const inside = (value, side) => Math.max(0, Math.min(side - 1, value));
    at = {
      x: inside(at.x + right * steps, canvas.width),
      y: inside(at.y + down * steps, canvas.height),
    };
    if (from) move(at);
  }

  canvas.addEventListener('keydown', (event) => {
    const isUndo = event.key === 'z' && (event.ctrlKey || event.metaKey);
    const isKey = event.key in ARROWS || event.key === ' ';
    if (!isUndo && (!isKey || event.ctrlKey || event.metaKey || event.altKey)) return;
    event.preventDefault();
    if (isUndo) return undo();
    if (pointer !== null) return;
    at ??= { x: Math.floor(canvas.width / 2), y: Math.floor(canvas.height / 2) };
    if (event.key !== ' ') walk(ARROWS[event.key], event.shiftKey ? Number(size.value) : 1);
    else if (event.repeat) return;
    else if (from) end();
    else begin(at);
    showCursor();
  });

  canvas.addEventListener('blur', () => {
    if (at && from) end();
    at = null;
    showCursor();
  });

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
    button.querySelector('.swatch').style.background = button.dataset.colour;
    button.addEventListener('click', () => {
      colour = button.dataset.colour;
      press(colours, button);
    });
  }
  picker?.addEventListener('input', () => {
    colour = picker.value;
    press(colours, null);
  });

  find('[data-do=undo]').addEventListener('click', undo);

  find('[data-do=clear]').addEventListener('click', () => {
    stop();
    remember();
    canvas.width = canvas.dataset.width;
    canvas.height = canvas.dataset.height;
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    send();
  });

  watch('value', () => {
    if (!props.value || props.value === shown) return;
    stop();
    remember();
    show(props.value);
  });
  show(props.value);
}
