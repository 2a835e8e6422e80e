"use strict";
// The page: what is on the screen is drawn from the network in tiles, coarse first, from the middle outwards.

const TILE = 128, MOST_TILES = 600, SLICE_MS = 24, COARSE = 8;
const DEEPEST = 2 ** 21;  // pixels along a side, beyond which float32 cannot tell neighbours apart
const model = JSON.parse(document.getElementById("model").textContent);
const numbers = decodeFloats(document.getElementById("numbers").textContent);
const captions = model.captions.length ? decodeFloats(document.getElementById("captions").textContent) : null;
const canvas = document.querySelector("canvas"), context = canvas.getContext("2d"), said = document.getElementById("said");
const choice = document.getElementById("caption");
const view = { scale: 1, left: 0, top: 0, caption: 0 };  // screen pixels per pixel of the picture; of the screen's corner
const tiles = new Map();
let network = startNetwork(), backdrop = null, queue = [], running = false, pixelsAtATime = 2048;

/** WebGL2 where it is the quicker one and draws what plain JavaScript draws, which is tried out on the picture itself. */
function startNetwork() {
  const plain = new PlainNetwork(model, numbers, captions), wanted = location.hash.slice(1);
  if (wanted === "javascript") return plain;
  try {
    const quick = new WebGLNetwork(model, numbers, captions);
    const few = Math.max(6, Math.min(48, Math.floor(Math.sqrt(2e7 / numbers.length)))), times = [];
    const [right, drawn] = [plain, quick].map(one => {
      one.draw(grid(6), 36, 0);  // compiled, or brought to the graphics card
      const axes = grid(few), before = performance.now(), pixels = one.draw(axes, few * few, 0);
      times.push(performance.now() - before);
      return pixels;
    });
    const far = drawn.filter((value, i) => Math.abs(value - right[i]) > 1).length;
    if (far > 0.01 * drawn.length) throw new Error(`${far} of ${drawn.length} values differ in WebGL2`);
    if (times[0] < times[1] && wanted !== "webgl2") throw new Error("WebGL2 is slower");
    quick.canvas.addEventListener("webglcontextlost", () => { network = plain; tiles.clear(); show(); });
    return quick;
  } catch (error) {
    console.info(`drawn in plain JavaScript: ${error.message}`);
    return plain;
  }
}

/** Positions of `side` by `side` pixels all over the first picture. */
function grid(side) {
  const size = sizeOf(0), places = Array.from({ length: side }, (_, i) => -0.97 + 1.94 * i / (side - 1));
  return axesOf(places.map(x => x * size.right), places.map(y => y * size.bottom), { rotations: model.rotations, ...size });
}

function sizeOf(caption) {
  const [width, height] = model.captions.length ? model.captions[caption].size : model.size, longest = Math.max(width, height) - 1;
  return { width, height, right: (width - 1) / longest, bottom: (height - 1) / longest };
}

/** Bytes r g b a of columns and rows of a picture that has `across` and `down` steps between its outermost pixels. */
function drawn(columns, rows, across, down, caption) {
  const size = sizeOf(caption), xs = Float64Array.from(columns, c => (2 * c / across - 1) * size.right);
  const ys = Float64Array.from(rows, r => (2 * r / down - 1) * size.bottom);
  const axes = axesOf(xs, ys, { rotations: model.rotations, ...size });
  try {
    return network.draw(axes, xs.length * ys.length, caption);
  } catch (error) {
    if (network.name === "javascript") throw error;
    network = new PlainNetwork(model, numbers, captions);
    return network.draw(axes, xs.length * ys.length, caption);
  }
}

const steps = () => { const { width, height } = sizeOf(view.caption); return [(width - 1) * view.scale, (height - 1) * view.scale]; };
const range = (start, end, step = 1) => Array.from({ length: Math.max(0, Math.ceil((end - start) / step)) }, (_, i) => start + i * step);

function fit() {
  const { width, height } = sizeOf(view.caption);
  view.scale = Math.min((canvas.width - 1) / (width - 1), (canvas.height - 1) / (height - 1));
  const [across, down] = steps();
  view.left = Math.round((across + 1 - canvas.width) / 2);
  view.top = Math.round((down + 1 - canvas.height) / 2);
  show();
}

/** Zoom by a factor; what is at x, y of the screen stays there. */
function zoom(by, x = canvas.width / 2, y = canvas.height / 2) {
  const { width, height } = sizeOf(view.caption), longest = Math.max(width, height) - 1;
  const scale = Math.min(DEEPEST / longest, Math.max(16 / longest, view.scale * by)), grown = scale / view.scale;
  view.left = Math.round((view.left + x) * grown - x);
  view.top = Math.round((view.top + y) * grown - y);
  view.scale = scale;
  show();
}

function move(x, y) {
  view.left = Math.round(view.left + x);
  view.top = Math.round(view.top + y);
  show();
}

/** The part of the picture that is on the screen, in its pixels: left, top, right, bottom. */
function visible() {
  const [across, down] = steps();
  return [Math.max(0, view.left), Math.max(0, view.top),
    Math.min(Math.floor(across + 1e-6) + 1, view.left + canvas.width), Math.min(Math.floor(down + 1e-6) + 1, view.top + canvas.height)];
}

function show() {
  const [across, down] = steps();  // some of the picture stays in sight
  view.left = Math.round(Math.min(across - 32, Math.max(32 - canvas.width, view.left)));
  view.top = Math.round(Math.min(down - 32, Math.max(32 - canvas.height, view.top)));
  const [left, top, right, bottom] = visible(), name = `${view.scale} ${view.caption}`, middle = [(left + right) / 2, (top + bottom) / 2];
  queue = [];
  for (let ty = Math.floor(top / TILE); ty * TILE < bottom; ty++)
    for (let tx = Math.floor(left / TILE); tx * TILE < right; tx++) {
      const key = `${name} ${tx} ${ty}`, tile = tiles.get(key);
      if (tile) { tiles.delete(key); tiles.set(key, tile); }  // the last ones used are kept
      else queue.push({ key, tx, ty, far: Math.hypot((tx + 0.5) * TILE - middle[0], (ty + 0.5) * TILE - middle[1]) });
    }
  queue.sort((a, b) => a.far - b.far);
  if (queue.length && network.name === "javascript") queue.unshift({ coarse: true });
  delete canvas.dataset.idle;
  said.textContent = `${model.name}: ${Math.round(across + 1).toLocaleString("en")} × ${Math.round(down + 1).toLocaleString("en")} pixels, zoom ${view.scale < 10 ? view.scale.toFixed(2) : Math.round(view.scale)}, ${network.name === "webgl2" ? "WebGL2" : "JavaScript"}`;
  paint();
  if (!running) { running = true; requestAnimationFrame(work); }
}

function paint() {
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  if (backdrop && backdrop.caption === view.caption) {
    const by = view.scale / backdrop.scale;
    context.drawImage(backdrop.picture, backdrop.left * by - view.left, backdrop.top * by - view.top, backdrop.picture.width * backdrop.step * by, backdrop.picture.height * backdrop.step * by);
  }
  const name = `${view.scale} ${view.caption}`, [left, top, right, bottom] = visible();
  for (let ty = Math.floor(top / TILE); ty * TILE < bottom; ty++)
    for (let tx = Math.floor(left / TILE); tx * TILE < right; tx++) {
      const tile = tiles.get(`${name} ${tx} ${ty}`);
      if (tile) context.drawImage(tile, tx * TILE - view.left, ty * TILE - view.top);
    }
}

function pictureOf(pixels, width, height) {
  const picture = document.createElement("canvas");
  picture.width = width;
  picture.height = height;
  picture.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return picture;
}

/** For a slice of time, draw what comes next; then let the browser have its turn. */
function work() {
  const until = performance.now() + SLICE_MS;
  while (queue.length && performance.now() < until) {
    const next = queue[0];
    if (!next.rows) begin(next);
    const count = Math.max(1, Math.min(next.rows.length - next.row, Math.round(pixelsAtATime / next.columns.length)));
    const before = performance.now(), [across, down] = steps();
    const pixels = drawn(next.columns, next.rows.slice(next.row, next.row + count), across, down, view.caption);
    const ms = Math.max(0.2, performance.now() - before);
    pixelsAtATime = Math.max(64, Math.min(TILE * TILE, 0.5 * pixelsAtATime + 0.5 * SLICE_MS / 2 * count * next.columns.length / ms));
    next.pixels.set(pixels, 4 * next.row * next.columns.length);
    next.row += count;
    if (next.row === next.rows.length) finish(queue.shift());
  }
  paint();
  if (queue.length) return void requestAnimationFrame(work);
  running = false;
  const [left, top] = [view.left, view.top];
  backdrop = { picture: copyOf(canvas), left, top, step: 1, scale: view.scale, caption: view.caption };
  canvas.dataset.idle = "";
  document.documentElement.dataset.ready = "";
}

function begin(next) {
  const [left, top, right, bottom] = visible(), [across, down] = steps(), ends = [Math.floor(across + 1e-6) + 1, Math.floor(down + 1e-6) + 1];
  next.columns = next.coarse ? range(left, right, COARSE) : range(next.tx * TILE, Math.min(ends[0], (next.tx + 1) * TILE));
  next.rows = next.coarse ? range(top, bottom, COARSE) : range(next.ty * TILE, Math.min(ends[1], (next.ty + 1) * TILE));
  Object.assign(next, { row: 0, pixels: new Uint8ClampedArray(4 * next.columns.length * next.rows.length), left, top });
}

function finish(done) {
  const picture = pictureOf(done.pixels, done.columns.length, done.rows.length);
  if (done.coarse) {
    backdrop = { picture, left: done.left, top: done.top, step: COARSE, scale: view.scale, caption: view.caption };
    return;
  }
  tiles.set(done.key, picture);
  if (tiles.size > MOST_TILES) tiles.delete(tiles.keys().next().value);
}

function copyOf(source) {
  const copy = document.createElement("canvas");
  copy.width = source.width;
  copy.height = source.height;
  copy.getContext("2d").drawImage(source, 0, 0);
  return copy;
}

function save() {
  canvas.toBlob(blob => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${model.name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}

const KEYS = {
  ArrowLeft: () => move(-canvas.width / 8, 0), ArrowRight: () => move(canvas.width / 8, 0),
  ArrowUp: () => move(0, -canvas.height / 8), ArrowDown: () => move(0, canvas.height / 8),
  "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), 0: fit, Home: fit, s: save,
};
canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});
const onScreen = event => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
};
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(2 ** (-event.deltaY * (event.deltaMode ? 20 : 1) / 240), ...onScreen(event));
}, { passive: false });
canvas.addEventListener("dblclick", event => zoom(2, ...onScreen(event)));
const fingers = new Map();
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, onScreen(event));
});
canvas.addEventListener("pointermove", event => {
  const last = fingers.get(event.pointerId), here = onScreen(event);
  if (!last) return;
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1], apart = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
    zoom(apart(here) / Math.max(1, apart(last)), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  } else if (fingers.size === 1) move(last[0] - here[0], last[1] - here[1]);
  fingers.set(event.pointerId, here);
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => fingers.delete(event.pointerId));

const BUTTONS = { "zoom-in": () => zoom(2), "zoom-out": () => zoom(0.5), whole: fit, save };
for (const [id, act] of Object.entries(BUTTONS)) document.getElementById(id).addEventListener("click", act);
model.captions.forEach((caption, number) => choice.add(new Option(caption.text, number)));
choice.addEventListener("change", () => { view.caption = Number(choice.value); fit(); });
choice.parentElement.hidden = !model.captions.length;
new ResizeObserver(() => {
  const ratio = window.devicePixelRatio || 1, width = Math.max(2, Math.round(canvas.clientWidth * ratio)), height = Math.max(2, Math.round(canvas.clientHeight * ratio));
  if (canvas.width === width && canvas.height === height && document.documentElement.dataset.engine) return;
  [canvas.width, canvas.height] = [width, height];
  document.documentElement.dataset.engine = network.name;
  fit();
}).observe(canvas);
