"use strict";

// The head of the page, the controls, and what pointer and keys do.

const element = (id) => document.getElementById(id);

// Whatever goes wrong in the page is said where a test finds it.
window.addEventListener("error", (event) => {
  document.documentElement.dataset.error = event.message;
});

function writeHead() {
  const { violation, messages, spans, signs } = run;
  element("title").textContent = run.title;
  element("verdict").textContent = violation === null ? "passed" : "FAILED";
  element("verdict").classList.toggle("bad", violation !== null);
  const count = messages.at.length.toLocaleString("en");
  element("facts").textContent = `${seconds(run.end)} s · ${count} messages · commit ${run.commit}`;
  element("violation").hidden = violation === null;
  element("jump").hidden = violation === null;
  if (violation !== null) element("violation").textContent = `${violation.check}: ${violation.what}`;
  element("command").textContent = run.command;
  element("options").textContent = run.profile;
  const gone = run.tables.reduce((sum, table, index) => sum + [run.messages, run.spans, run.signs][index].gone, 0);
  if (gone > 0) element("gone").textContent = `· the oldest ${gone.toLocaleString("en")} things are left out`;
}

/** A switch; a double click leaves only this one of its kind on. */
function chip(parent, text, title, of, states, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = of === null ? "chip lane" : "chip";
  button.textContent = text;
  button.title = title;
  button.dataset.name = text;
  if (of !== null) button.style.setProperty("--of", `var(${of})`);
  button.addEventListener("click", () => {
    states()[index] = !states()[index];
    changed("filter");
  });
  button.addEventListener("dblclick", () => {
    const others = states().some((state, other) => state && other !== index);
    states().forEach((_, other, all) => {
      all[other] = others ? other === index : true;
    });
    changed("filter");
  });
  view.listeners.push(() => button.setAttribute("aria-pressed", String(states()[index])));
  parent.append(button);
}

function writeChips() {
  GROUPS.forEach(({ name, title, color: of }, index) => {
    chip(element("kinds"), name, title, of || `--${name}`, () => view.groups, index);
  });
  run.lanes.forEach(({ name, what }, index) => {
    chip(element("lanes"), name, what, null, () => view.lanes, index);
  });
}

let isDue = false;

function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawOverview();
    drawDiagram();
  });
}

function onChange(what) {
  if (what === "filter") refilter();
  if (what === "kept") showKept();
  else relist();
  const step = (view.to - view.from) / 1000;
  if (document.activeElement !== element("from")) element("from").value = seconds(view.from, step);
  if (document.activeElement !== element("to")) element("to").value = seconds(view.to, step);
  if (document.activeElement !== element("search")) element("search").value = view.words;
  drawSoon();
}

function listenToControls() {
  let typing = 0;
  element("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => search(event.target.value), 150);
  });
  for (const id of ["from", "to"]) {
    element(id).addEventListener("change", () => {
      const [from, to] = ["from", "to"].map((end) => Number.parseFloat(element(end).value) * 1e6);
      if (to > from) look(from, to);
    });
  }
  element("in").addEventListener("click", () => zoom(0.5));
  element("out").addEventListener("click", () => zoom(2));
  element("all").addEventListener("click", lookAtAll);
  element("jump").addEventListener("click", lookAtViolation);
  element("listed").addEventListener("click", toggleList);
  element("copy").addEventListener("click", () => navigator.clipboard?.writeText(run.command));
  overview.canvas.addEventListener("pointerdown", overviewPressed);
  list.box.addEventListener("scroll", drawRows);
}

function toggleList() {
  element("side").hidden = !element("side").hidden;
  onChange("time");
}

function listenToPointer() {
  const { canvas } = diagram;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) move((sideways * unit) / diagram.width);
    else zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * unit * 0.0025))), timeOf(event.offsetX));
  }, { passive: false });
  canvas.addEventListener("pointerdown", diagramPressed);
  canvas.addEventListener("dblclick", (event) => zoom(0.25, timeOf(event.offsetX)));
  canvas.addEventListener("pointermove", (event) => hover(event.offsetX, event.offsetY));
  canvas.addEventListener("pointerleave", () => hover(null));
}

/** A drag moves what is in sight, or with shift draws the part to look at; a click keeps what is there. */
function diagramPressed(event) {
  const { canvas } = diagram;
  const { from, to } = view;
  const begin = event.offsetX;
  canvas.setPointerCapture(event.pointerId);
  canvas.focus();
  const onMove = (moved) => {
    if (event.shiftKey) {
      diagram.part = { from: begin, to: moved.offsetX };
      drawSoon();
    } else if (Math.abs(moved.offsetX - begin) > 2) {
      canvas.classList.add("moving");
      const by = ((moved.offsetX - begin) / (diagram.width - LABELS)) * (to - from);
      look(from - by, to - by);
    }
  };
  const onEnd = (ended) => {
    canvas.removeEventListener("pointermove", onMove);
    canvas.classList.remove("moving");
    const { part } = diagram;
    diagram.part = null;
    if (part !== null) look(timeOf(Math.min(part.from, part.to)), timeOf(Math.max(part.from, part.to)));
    if (Math.abs(ended.offsetX - begin) > 2) return;
    const found = eventAt(ended.offsetX, ended.offsetY);
    keep(found === null ? null : found.table, found?.index);
  };
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerup", onEnd, { once: true });
}

function hover(x, y) {
  const tip = element("tip");
  diagram.pointer = x === null ? null : { x, y };
  view.hovered = x === null ? null : eventAt(x, y);
  tip.hidden = view.hovered === null;
  if (view.hovered !== null) {
    tip.textContent = full(view.hovered.table, view.hovered.index);
    const left = Math.min(x + 16, diagram.width - tip.offsetWidth - 8);
    const top = y + 18 + tip.offsetHeight < diagram.height ? y + 18 : y - tip.offsetHeight - 12;
    tip.style.transform = `translate(${Math.max(left, 4)}px, ${Math.max(top, 4)}px)`;
  }
  drawSoon();
}

const KEYS = {
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  "0": lookAtAll,
  ArrowLeft: () => move(-0.2),
  ArrowRight: () => move(0.2),
  n: () => walk(1),
  p: () => walk(-1),
  v: () => run.violation !== null && lookAtViolation(),
  l: toggleList,
  Escape: () => keep(null),
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey;
    if (isTyping || KEYS[event.key] === undefined) return;
    event.preventDefault();
    KEYS[event.key]();
  });
}

function begin() {
  writeHead();
  writeChips();
  view.listeners.push(onChange);
  listenToControls();
  listenToPointer();
  listenToKeys();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colors.clear();
    onChange("time");
  });
  new ResizeObserver(() => onChange("time")).observe(element("stage"));
  recall();
  document.documentElement.dataset.ready = "yes";
}

begin();
