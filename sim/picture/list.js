"use strict";

// Everything that is in sight and not switched off, as a list. Only the rows that can be seen exist.

const ROW = 20;

const list = {
  box: document.getElementById("list"),
  rows: document.getElementById("rows"),
  height: document.getElementById("height"),
  count: document.getElementById("count"),
  detail: document.getElementById("detail"),
  /** Places in run.events that lanes, groups and words let through, and their times. */
  places: new Uint32Array(0),
  times: new Float64Array(0),
  first: 0,
  after: 0,
};

/** Finds out again what is let through. */
function refilter() {
  const { kind, index } = run.events;
  const places = new Uint32Array(kind.length);
  let count = 0;
  for (let place = 0; place < kind.length; place += 1) {
    if (isShown(kind[place], index[place]) && isMatch(kind[place], index[place])) {
      places[count] = place;
      count += 1;
    }
  }
  list.places = places.slice(0, count);
  list.times = Float64Array.from(list.places, (place) => run.tables[kind[place]].at[index[place]]);
}

/** Lists what is in sight. */
function relist() {
  list.first = lowerBound(list.times, view.from);
  list.after = lowerBound(list.times, view.to + 1);
  const count = list.after - list.first;
  list.height.style.height = `${Math.min(count * ROW, 8e6)}px`;
  const words = view.words === "" ? "" : ` with “${view.words}”`;
  list.count.textContent = `${count.toLocaleString("en")} of ${list.places.length.toLocaleString("en")} events${words} in sight`;
  list.count.dataset.count = count;
  drawRows();
}

function drawRows() {
  const count = list.after - list.first;
  const top = Math.min(Math.floor(list.box.scrollTop / ROW), Math.max(count - 1, 0));
  const shown = Math.min(Math.ceil(list.box.clientHeight / ROW) + 1, count - top);
  const step = (view.to - view.from) / 1000;
  const rows = [];
  for (let offset = top; offset < top + shown; offset += 1) rows.push(rowOf(list.first + offset, step));
  list.rows.style.transform = `translateY(${top * ROW}px)`;
  list.rows.replaceChildren(...rows);
}

function rowOf(number, step) {
  const place = list.places[number];
  const [table, index] = [run.events.kind[place], run.events.index[place]];
  const row = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = seconds(list.times[number], Math.min(step, 1e3));
  row.append(time, brief(table, index));
  row.title = full(table, index);
  row.style.setProperty("--of", colorOf(table, index));
  row.classList.toggle("kept", view.kept !== null && view.kept.table === table && view.kept.index === index);
  row.addEventListener("click", () => keep(table, index));
  return row;
}

function colorOf(table, index) {
  const { kind } = run.tables[table];
  if (table === MESSAGE) return color(`--${run.kinds[kind[index]]}`);
  return table === SPAN ? color(`--${run.spanKinds[kind[index]]}`) : color(LOOKS[run.signKinds[kind[index]]][0]);
}

/** The number in the list of an event, or of what comes next. */
function numberOf({ table, index }) {
  const time = run.tables[table].at[index];
  let number = lowerBound(list.times, time);
  const isIt = (place) => run.events.kind[place] === table && run.events.index[place] === index;
  while (number < list.places.length && list.times[number] === time && !isIt(list.places[number])) number += 1;
  return Math.min(number, list.places.length - 1);
}

/** Goes to the next event of the list, or to the one before. */
function walk(step) {
  if (list.places.length === 0) return;
  const from = view.kept === null ? list.first - (step > 0 ? 1 : 0) : numberOf(view.kept);
  const number = Math.min(Math.max(from + step, 0), list.places.length - 1);
  const place = list.places[number];
  const [table, index] = [run.events.kind[place], run.events.index[place]];
  reveal(table, index);
  keep(table, index);
}

/** Shows what is kept: its words, and its row. */
function showKept() {
  const { kept } = view;
  list.detail.textContent = kept === null ? "" : full(kept.table, kept.index);
  if (kept !== null && list.places.length > 0) {
    const top = (numberOf(kept) - list.first) * ROW;
    const { scrollTop, clientHeight } = list.box;
    if (top < scrollTop || top > scrollTop + clientHeight - ROW) list.box.scrollTop = top - clientHeight / 2;
  }
  drawRows();
}
