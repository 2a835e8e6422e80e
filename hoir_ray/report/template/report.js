"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse($("#data").textContent);
  const root = document.documentElement;
  const remembered = { get(key) { try { return localStorage.getItem(key); } catch { return null; } },
                       set(key, value) { try { localStorage.setItem(key, value); } catch { /* a file may not store */ } } };

  // -- pictures -------------------------------------------------------------------------------------------------
  const source = (trial, panel) => data.files[(data.pictures[trial] || {})[panel]];
  const caption = (trial) => data.captions[trial] || trial;

  const picked = $("#picked");
  function pick(trial) {
    if (!picked) return;
    const image = $("img", picked), src = source(trial, "fit") || source(trial, "picture");
    picked.dataset.trial = trial;
    image.hidden = !src;
    if (src) { image.src = src; image.alt = `Picture of ${trial}`; } else { image.removeAttribute("src"); }
    $("figcaption", picked).textContent = caption(trial) + (src ? "" : "; no picture of it was kept");
  }

  function look(trial) {
    for (const image of $$("#gallery [data-panel]")) {
      const src = source(trial, image.dataset.panel);
      image.hidden = !src;
      if (src) { image.src = src; image.alt = `${image.dataset.panel} of ${trial}`; }
    }
    for (const button of $$("#gallery [data-trial]")) button.setAttribute("aria-pressed", String(button.dataset.trial === trial));
    $("#gallery-caption").textContent = caption(trial);
  }
  for (const button of $$("#gallery [data-trial]")) button.addEventListener("click", () => look(button.dataset.trial));
  const first = $("#gallery [data-trial]");
  if (first) { look(first.dataset.trial); pick(first.dataset.trial); }

  const slider = $("#slider");
  if (slider) {
    const slide = () => {
      $(".stack").style.setProperty("--cut", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", `${slider.value} % original`);
    };
    slider.addEventListener("input", slide);
    slide();
    const drag = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = $(".stack").getBoundingClientRect();
      slider.value = Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
      slide();
    };
    $(".stack").addEventListener("pointerdown", drag);
    $(".stack").addEventListener("pointermove", drag);
  }

  // -- tables ---------------------------------------------------------------------------------------------------
  const keyOf = (cell) => {
    const raw = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(raw.replace(/,/g, ""));
    return raw === "" ? null : Number.isNaN(number) ? raw : number;
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  for (const table of $$("table.sortable")) {
    $$("thead th", table).forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of $$("thead th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
        const body = $("tbody", table);
        const rows = $$("tr", body).map((row) => [keyOf(row.cells[column]), row]);
        rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : down * compare(a, b));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
  const filter = $("#filter");
  if (filter) filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase(), rows = $$("#trial-table tbody tr");
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    $("#filtered").textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });

  $("#copy")?.addEventListener("click", async () => {
    const pre = $("#yaml");
    try { await navigator.clipboard.writeText(pre.textContent); $("#copied").textContent = "Copied."; } catch {
      getSelection().selectAllChildren(pre);
      $("#copied").textContent = "Selected; copy it with the keyboard.";
    }
  });

  // -- charts ---------------------------------------------------------------------------------------------------
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  function dressed(figure) {
    const layout = structuredClone(figure.layout), text = colour("--text"), line = colour("--line");
    for (const name of ["xaxis", "yaxis"]) layout[name] = { gridcolor: line, zerolinecolor: line, linecolor: line, ...layout[name] };
    return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { t: 30, r: 16, b: 48, l: 56 }, autosize: true,
      font: { color: text, family: "system-ui, sans-serif", size: 12.5 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: line, font: { color: text }, align: "left" }, ...layout };
  }
  const settings = { responsive: true, displaylogo: false, displayModeBar: false, showTips: false };

  // A phone has no room for settings and reasons beside a point; the chart's own table and the trials' have them.
  function traces(figure) {
    const narrow = matchMedia("(max-width: 560px)").matches;
    return structuredClone(figure.data).map((trace) => narrow && trace.hovertemplate
      ? { ...trace, hovertemplate: trace.hovertemplate.replace("<br>%{text}", "") } : trace);
  }

  function draw(box) {
    const figure = data.figures[box.dataset.chart];
    if (figure.layout.minWidth) box.style.minWidth = `${figure.layout.minWidth}px`;
    if (figure.layout.height) box.style.height = `${figure.layout.height}px`;
    window.Plotly.newPlot(box, traces(figure), dressed(figure), settings).then(() => {
      box.dataset.drawn = "true";
      box.on("plotly_hover", (event) => { if (box.dataset.chart === "front") pick(event.points[0].customdata); });
      box.on("plotly_click", (event) => pick(event.points[0].customdata));
    });
    if (box.dataset.chart === "front") walkable(box, figure);
  }

  // The arrow keys walk over the points of the front, from left to right.
  function walkable(box, figure) {
    if (box.dataset.walkable) return;
    box.dataset.walkable = "true";
    box.tabIndex = 0;
    box.setAttribute("role", "application");
    box.setAttribute("aria-roledescription", "chart; arrow keys walk over the front");
    const at = figure.data.findIndex((trace) => trace.name === "front"), trace = figure.data[at];
    const order = trace.x.map((_, i) => i).sort((a, b) => trace.x[a] - trace.x[b]);
    let place = -1;
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      const end = { Home: 0, End: order.length - 1 }[event.key];
      if (step === undefined && end === undefined) return;
      event.preventDefault();
      place = end ?? (place < 0 ? (step > 0 ? 0 : order.length - 1) : Math.min(order.length - 1, Math.max(0, place + step)));
      pick(trace.customdata[order[place]]);
      window.Plotly.Fx.hover(box, [{ curveNumber: at, pointNumber: order[place] }]);
    });
  }

  const charts = $$("[data-chart]");
  const media = matchMedia("(prefers-color-scheme: dark)");
  function paint(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    $("#theme").textContent = dark ? "Light" : "Dark";
    $("#theme").setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
    $("#theme").removeAttribute("aria-pressed");
    for (const box of charts) if (box.dataset.drawn) window.Plotly.react(box, traces(data.figures[box.dataset.chart]), dressed(data.figures[box.dataset.chart]), settings);
  }
  const chosen = remembered.get("hoir-theme");
  paint(chosen ? chosen === "dark" : media.matches);
  media.addEventListener("change", (event) => paint(event.matches));
  $("#theme").addEventListener("click", () => { paint(root.dataset.theme !== "dark"); remembered.set("hoir-theme", root.dataset.theme); });

  // As a file of its own, Plotly is compiled beside the page; as text in the page it would hold it up.
  async function load(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    const code = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([await code.arrayBuffer()], { type: "text/javascript" }));
    await new Promise((done, fail) => {
      Object.assign(script, { onload: done, onerror: () => fail(new Error("its script was refused")) });
      document.head.append(script);
    });
    URL.revokeObjectURL(script.src);
  }
  load($("#plotly").textContent).then(() => {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
    }, { rootMargin: "300px" });
    for (const box of charts) seen.observe(box);
    // On paper nothing is scrolled to, so what has not been seen yet is drawn before it is printed.
    addEventListener("beforeprint", () => { for (const box of charts) if (!box.dataset.drawn) { seen.unobserve(box); draw(box); } });
    root.dataset.ready = "true";
  }).catch((error) => {
    for (const box of charts) box.textContent = `This browser cannot draw the charts (${error}); the tables hold the same.`;
  });

  // -- kept fresh -----------------------------------------------------------------------------------------------
  const version = document.body.dataset.version;
  if (version) setInterval(async () => {
    try { if ((await (await fetch("version")).text()) !== version) location.reload(); } catch { /* the sweep's watcher has ended */ }
  }, 3000);
})();
