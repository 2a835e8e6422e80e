// A picture that can be zoomed without end: tiles are drawn by the network for what is on the screen.
"use strict";
const about = JSON.parse(document.body.dataset.about);
const view = document.getElementById("main"), place = document.getElementById("place");
const captionInput = document.getElementById("caption");
const base = location.pathname.replace(/\/view$/, "");
const MAX_TILES = 400;
const tiles = new Map();
let caption = captionInput ? captionInput.value : "";
// The place in the middle of the view, from 0 to 1 along each side, and the width of the whole picture in CSS pixels.
let middle = { x: 0.5, y: 0.5 }, width = 0, pending = false;

const size = () => about.sizes[caption] || [about.tile, about.tile];
const heightOf = (w) => w * size()[0] / size()[1];
const fit = () => Math.min(view.clientWidth, view.clientHeight * size()[1] / size()[0]);
const maxWidth = () => size()[1] * 2 ** about.max_depth;

function depth() {
  const wanted = Math.ceil(Math.log2(width * window.devicePixelRatio / size()[1]) - 0.01);
  return Math.max(0, Math.min(about.max_depth, wanted));
}

function bound() {
  width = Math.max(fit() / 2, Math.min(maxWidth(), width));
  middle.x = Math.max(0, Math.min(1, middle.x));
  middle.y = Math.max(0, Math.min(1, middle.y));
}

function wantedAt(z) {
  const side = 2 ** z, height = heightOf(width), found = [];
  const halves = [view.clientWidth / 2 / width, view.clientHeight / 2 / height];
  const clip = (v) => Math.max(0, Math.min(side - 1, v));
  const [left, right] = [clip(Math.floor((middle.x - halves[0]) * side)), clip(Math.floor((middle.x + halves[0]) * side))];
  const [top, bottom] = [clip(Math.floor((middle.y - halves[1]) * side)), clip(Math.floor((middle.y + halves[1]) * side))];
  for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) found.push([z, column, row]);
  return found;
}

function tileOf([z, column, row]) {
  const key = `${caption}\n${z}/${column}/${row}`;
  let tile = tiles.get(key);
  if (!tile) {
    const image = document.createElement("img");
    image.alt = "";
    image.draggable = false;
    image.src = `${base}/tiles/${z}/${column}/${row}.png${caption ? `?caption=${encodeURIComponent(caption)}` : ""}`;
    tile = { image, z, column, row, caption, isThere: false };
    image.addEventListener("load", () => { tile.isThere = true; show(); });
    image.addEventListener("error", () => { place.textContent = "a part could not be drawn"; tiles.delete(key); });
    image.style.zIndex = z;
    view.append(image);
  }
  tiles.delete(key);
  tiles.set(key, tile);  // the last used stand last
  return tile;
}

function show() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    bound();
    const z = depth(), height = heightOf(width);
    const wanted = wantedAt(z).map(tileOf);
    if (z > 0) tileOf([0, 0, 0]);  // beneath, until the others are there
    const isComplete = wanted.every((t) => t.isThere);
    for (const tile of tiles.values()) {
      const side = 2 ** tile.z;
      const left = (tile.column / side - middle.x) * width + view.clientWidth / 2;
      const top = (tile.row / side - middle.y) * height + view.clientHeight / 2;
      const [w, h] = [width / side, height / side];
      const isSeen = left < view.clientWidth && top < view.clientHeight && left + w > 0 && top + h > 0;
      const isUsed = tile.caption === caption && isSeen && tile.z <= z && w < 1e6 && (tile.z === z || !isComplete);
      tile.image.hidden = !isUsed;
      if (!isUsed) continue;
      // Whole pixels, so that neighbours leave no seam.
      const [l, t] = [Math.round(left), Math.round(top)];
      tile.image.style.transform = `translate(${l}px, ${t}px)`;
      tile.image.style.width = `${Math.round(left + w) - l}px`;
      tile.image.style.height = `${Math.round(top + h) - t}px`;
    }
    while (tiles.size > MAX_TILES) {
      const [key, oldest] = tiles.entries().next().value;
      oldest.image.remove();
      tiles.delete(key);
    }
    if (isComplete) {
      const edge = (v, half) => Math.max(-1, Math.min(1, 2 * (v + half) - 1));
      const halves = [view.clientWidth / 2 / width, view.clientHeight / 2 / height];
      const region = [edge(middle.x, -halves[0]), edge(middle.y, -halves[1]), edge(middle.x, halves[0]), edge(middle.y, halves[1])];
      const digits = Math.min(15, 4 + Math.ceil(z * Math.log10(2)));
      place.textContent = `--region ${region.map((v) => Number(v.toFixed(digits))).join(",")}`;
      view.dataset.depth = z;
    }
  });
}

function zoom(factor, at = { x: view.clientWidth / 2, y: view.clientHeight / 2 }) {
  const before = width;
  width = Math.max(fit() / 2, Math.min(maxWidth(), width * factor));
  const [dx, dy] = [at.x - view.clientWidth / 2, at.y - view.clientHeight / 2];
  middle.x += dx / before - dx / width;
  middle.y += dy / heightOf(before) - dy / heightOf(width);
  show();
}

function move(dx, dy) {
  middle.x -= dx / width;
  middle.y -= dy / heightOf(width);
  show();
}

function whole() {
  middle = { x: 0.5, y: 0.5 };
  width = fit();
  show();
}

const fingers = new Map();
view.addEventListener("pointerdown", (event) => {
  view.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
});
view.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const now = { x: event.clientX - view.getBoundingClientRect().x, y: event.clientY - view.getBoundingClientRect().y };
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  fingers.set(event.pointerId, now);
  if (other) zoom(Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y)), other);
  else move(now.x - before.x, now.y - before.y);
});
for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => fingers.delete(event.pointerId));
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = view.getBoundingClientRect();
  zoom(2 ** (-event.deltaY / 300), { x: event.clientX - box.x, y: event.clientY - box.y });
}, { passive: false });
const KEYS = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
view.addEventListener("keydown", (event) => {
  if (KEYS[event.key]) move(...KEYS[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(2);
  else if (event.key === "-") zoom(0.5);
  else if (event.key === "0") whole();
  else return;
  event.preventDefault();
});
document.getElementById("in").addEventListener("click", () => zoom(2));
document.getElementById("out").addEventListener("click", () => zoom(0.5));
document.getElementById("whole").addEventListener("click", whole);
captionInput?.addEventListener("change", () => {
  caption = captionInput.value || caption;
  whole();
});
new ResizeObserver(() => { if (!width) whole(); else show(); }).observe(view);
document.documentElement.dataset.ready = "";
