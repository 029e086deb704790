"use strict";

// What is looked at: a part of the time, some lanes, some groups of things, and words. Everything that draws asks
// here, and is told when it changes. The address of the page says the same, so that it can be passed on.

const NARROWEST = 20;

const view = {
  from: 0,
  to: run.end * 1.02,
  /** One for each of GROUPS. */
  groups: GROUPS.map(() => true),
  /** One for each lane. */
  lanes: run.lanes.map(() => true),
  words: "",
  /** One for each text: whether the words are in it. All, if there are no words. */
  matches: null,
  /** What the reader clicked on: a table and an index. */
  kept: null,
  hovered: null,
  listeners: [],
};

/** Calls all that draw. `what` is "time", "filter" or "kept". */
function changed(what) {
  for (const listener of view.listeners) listener(what);
  rememberSoon();
}

function look(from, to) {
  const width = Math.min(Math.max(to - from, NARROWEST), run.end * 1.1);
  const middle = (from + to) / 2;
  const slack = width * 0.5;
  view.from = Math.min(Math.max(middle - width / 2, -slack), run.end + slack - width / 2);
  view.to = view.from + width;
  changed("time");
}

function zoom(factor, around = (view.from + view.to) / 2) {
  look(around - (around - view.from) * factor, around + (view.to - around) * factor);
}

function move(part) {
  const step = (view.to - view.from) * part;
  look(view.from + step, view.to + step);
}

function lookAtAll() {
  look(-run.end * 0.01, run.end * 1.02);
}

function lookAtViolation() {
  const width = Math.min(run.end * 1.02, Math.max(run.end / 40, 1e5));
  look(run.end - width * 0.85, run.end + width * 0.15);
}

/** Brings an event into sight, if it is not. */
function reveal(table, index) {
  const at = run.tables[table].at[index];
  const width = view.to - view.from;
  if (at < view.from || at > view.to) look(at - width / 2, at + width / 2);
}

function keep(table, index) {
  view.kept = table === null ? null : { table, index };
  changed("kept");
}

function search(words) {
  view.words = words;
  const wanted = words.trim().toLowerCase();
  view.matches = wanted === ""
    ? null
    : Uint8Array.from(run.texts, (text) => (text.toLowerCase().includes(wanted) ? 1 : 0));
  changed("filter");
}

function laneIsShown(lane) {
  return lane < 0 || view.lanes[lane];
}

/** Whether lanes and groups let an event be seen. */
function isShown(table, index) {
  const { kind, groups, lane, from, to } = run.tables[table];
  if (!view.groups[groups[kind[index]]]) return false;
  return table === MESSAGE
    ? view.lanes[from[index]] && view.lanes[to[index]]
    : laneIsShown(lane[index]);
}

/** Whether the words that are searched for are in it, or in the name of who it is about. */
function isMatch(table, index) {
  return view.matches === null || view.matches[run.tables[table].text[index]] === 1;
}

const address = { timer: 0 };

function rememberSoon() {
  clearTimeout(address.timer);
  address.timer = setTimeout(remember, 300);
}

function remember() {
  const parts = new URLSearchParams();
  parts.set("from", seconds(view.from));
  parts.set("to", seconds(view.to));
  const off = GROUPS.filter((_, index) => !view.groups[index]).map((group) => group.name);
  const hidden = run.lanes.filter((_, index) => !view.lanes[index]).map((lane) => lane.name);
  if (off.length > 0) parts.set("without", off.join(","));
  if (hidden.length > 0) parts.set("hidden", hidden.join(","));
  if (view.words !== "") parts.set("words", view.words);
  history.replaceState(null, "", `#${parts}`);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const off = (parts.get("without") || "").split(",");
  const hidden = (parts.get("hidden") || "").split(",");
  view.groups = GROUPS.map((group) => !off.includes(group.name));
  view.lanes = run.lanes.map((lane) => !hidden.includes(lane.name));
  search(parts.get("words") || "");
  const [from, to] = [Number.parseFloat(parts.get("from")), Number.parseFloat(parts.get("to"))];
  if (to > from) look(from * 1e6, to * 1e6);
  else lookAtAll();
}
