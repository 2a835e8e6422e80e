// Reloads the report when a trial has changed, and opens the page of a trial.
"use strict";
const EVERY_MS = 3000;
const frame = document.querySelector("iframe"), fresh = document.getElementById("fresh");
const trial = document.getElementById("trial"), open = document.getElementById("open");
const place = location.pathname.replace(/\/$/, "");
let version = document.body.dataset.version;

async function look() {
  try {
    const answer = await fetch(`${place}/version`);
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    fresh.textContent = "";
    if (text !== version) {
      version = text;
      frame.src = `${place}/report`;
    }
  } catch (error) {
    fresh.textContent = `not up to date: ${error.message}`;
  }
}

function target() {
  const name = trial.value.trim();
  open.hidden = !name;
  open.href = `${place}/trials/${encodeURIComponent(name)}`;
  return name;
}
trial.addEventListener("input", target);
trial.addEventListener("keydown", (event) => { if (event.key === "Enter" && target()) location.assign(open.href); });
document.documentElement.dataset.ready = "";
setInterval(look, EVERY_MS);
