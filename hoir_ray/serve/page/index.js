// The list of sweeps: read every two and a half seconds, and shown as text whatever names hold.
"use strict";
const EVERY_MS = 2500;
const table = document.querySelector("#sweeps tbody");
const search = document.getElementById("search"), state = document.getElementById("state"), task = document.getElementById("task");
let sweeps = [], order = { key: "changed_at", down: true };

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function link(text, href) {
  const made = element("a", text);
  made.href = href;
  return made;
}

function moment(text) {
  const time = text ? new Date(text) : null;
  return time && !Number.isNaN(time.getTime()) ? time.toLocaleString() : "-";
}

function trials(sweep) {
  const counts = Object.entries(sweep.trials).map(([name, count]) => `${count} ${name.toLowerCase()}`);
  const of = sweep.max_trials ? ` of ${sweep.max_trials}` : "";
  return counts.length ? `${sweep.num_trials}${of}: ${counts.join(", ")}` : "-";
}

function picture(sweep) {
  const cell = element("td");
  if (!sweep.picture || !sweep.best_trial) return cell;
  const image = element("img");
  image.src = `${sweep.href}/trials/${encodeURIComponent(sweep.best_trial)}/picture.png`;
  image.alt = `original, fit and error of ${sweep.best_trial}`;
  image.loading = "lazy";
  const around = link(undefined, `${sweep.href}/trials/${encodeURIComponent(sweep.best_trial)}`);
  around.append(image);
  cell.append(around);
  return cell;
}

function row(sweep) {
  const made = element("tr");
  made.dataset.name = sweep.name;
  const name = element("th");
  name.scope = "row";
  name.append(["broken", "newer"].includes(sweep.state) ? element("span", sweep.name) : link(sweep.name, sweep.href));
  if (sweep.problem) name.append(element("p", sweep.problem, "problem"));
  const state = element("td");
  state.append(element("span", sweep.state, `state ${sweep.state}`));
  if (sweep.state === "running" && sweep.lease_s !== null) state.title = `its lease ends in ${Math.round(sweep.lease_s)} s`;
  const best = element("td", sweep.best === null ? "-" : `${Number(sweep.best.toPrecision(5))} ${sweep.metric}`);
  const by = sweep.host && !sweep.owner.endsWith("@" + sweep.host) ? `${sweep.owner} on ${sweep.host}` : sweep.owner;
  made.append(picture(sweep), name, element("td", sweep.task), state, element("td", trials(sweep)), best,
    element("td", sweep.size, "number"), element("td", by || "-"), element("td", moment(sweep.started_at)), element("td", moment(sweep.changed_at)));
  return made;
}

function compare(a, b) {
  const [x, y] = [a[order.key], b[order.key]];
  const empty = (value) => value === null || value === undefined || value === "";
  if (empty(x) || empty(y)) return empty(x) - empty(y);  // what is not known comes last either way
  const sign = order.down ? -1 : 1;
  return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true }));
}

function show() {
  const wanted = search.value.trim().toLowerCase();
  const fits = (s) => (!state.value || s.state === state.value) && (!task.value || s.task === task.value)
    && [s.name, s.task, s.owner, s.host].some((text) => text.toLowerCase().includes(wanted));
  const shown = sweeps.filter(fits).sort(compare);
  const focused = document.activeElement?.closest?.("tr")?.dataset.name;
  table.replaceChildren(...shown.map(row));
  if (focused !== undefined) [...table.rows].find((r) => r.dataset.name === focused)?.querySelector("th a")?.focus();
  document.getElementById("count").textContent = `${shown.length} of ${sweeps.length} sweeps`;
}

function offerTasks() {
  const known = new Set([...task.options].map((o) => o.value));
  for (const name of new Set(sweeps.map((s) => s.task))) if (name && !known.has(name)) task.append(new Option(name, name));
}

let before = "";
async function read() {
  const problem = document.getElementById("problem");
  try {
    const answer = await fetch("/sweeps.json");
    if (!answer.ok) throw new Error(await answer.text());
    const text = await answer.text();
    problem.hidden = true;
    if (text !== before) {
      before = text;
      sweeps = JSON.parse(text).sweeps.map((s) => ({ ...s, num_trials: Object.values(s.trials).reduce((a, b) => a + b, 0) }));
      offerTasks();
      show();
    }
  } catch (error) {
    problem.textContent = `Not up to date: ${error.message}`;
    problem.hidden = false;
  }
  document.documentElement.dataset.ready = "";
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    order = { key: button.dataset.key, down: order.key === button.dataset.key ? !order.down : false };
    for (const other of document.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", order.down ? "descending" : "ascending");
    show();
  });
}
for (const input of [search, state, task]) input.addEventListener("input", show);
read();
setInterval(read, EVERY_MS);
