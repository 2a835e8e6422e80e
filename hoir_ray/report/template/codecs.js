"use strict";
(() => {
  const data = JSON.parse(document.querySelector("#data").textContent);
  const side = document.querySelector("#side"), zoom = document.querySelector("#zoom"), zoomed = document.querySelector("#zoomed");
  const buttons = [...document.querySelectorAll("[data-panel-number]")];
  let x = 50, y = 50;

  function place() {
    const scale = Number(zoom.value);
    side.style.setProperty("--zoom", scale);
    side.style.setProperty("--x", `${x}%`);
    side.style.setProperty("--y", `${y}%`);
    zoomed.textContent = `${scale} x`;
    zoom.setAttribute("aria-valuetext", `${scale} times`);
  }
  function move(right, down) {
    x = Math.min(100, Math.max(0, x + right));
    y = Math.min(100, Math.max(0, y + down));
    place();
  }

  function lens(picture) {
    const figure = document.createElement("figure"), frame = document.createElement("div");
    const image = document.createElement("img"), caption = document.createElement("figcaption");
    frame.className = "frame lens";
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", `${picture.caption}; arrow keys move the zoomed part`);
    image.src = data.files[picture.file];
    image.alt = picture.caption;
    image.draggable = false;
    caption.textContent = picture.caption;
    frame.append(image);
    figure.append(frame, caption);
    frame.addEventListener("pointerdown", (event) => frame.setPointerCapture(event.pointerId));
    frame.addEventListener("pointermove", (event) => {
      const scale = Number(zoom.value);
      if (!event.buttons || scale === 1) return;
      const box = frame.getBoundingClientRect(), hidden = (scale - 1) / 100;
      move(-event.movementX / (box.width * hidden), -event.movementY / (box.height * hidden));
    });
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(step[0], step[1]);
    });
    return figure;
  }

  function look(number) {
    side.replaceChildren(...data.panels[number].pictures.map(lens));
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  }
  buttons.forEach((button, i) => button.addEventListener("click", () => look(i)));
  zoom.addEventListener("input", place);
  place();
  if (data.panels.length) look(data.panels.length - 1);
})();
