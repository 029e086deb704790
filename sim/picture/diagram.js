"use strict";

// The space-time diagram: time goes to the right, every lane is somebody. What is drawn is kept in `drawn`, where the
// pointer finds it again. Of things that would cover each other one is drawn for each pixel, so that a whole run of
// hundreds of thousands of messages is drawn as fast as a second of it.

const LABELS = 74;
const AXIS = 34;
const STATES = ["down", "recovering", "serving", "looking", "following", "leading", "observing"];
/** Faults that last are strips above the band of a server. */
const STRIPS = ["pause", "cut", "hold", "stall", "full"];

const diagram = {
  canvas: document.getElementById("diagram"),
  width: 0,
  height: 0,
  /** Where lanes are: the middle, and half of the height, or null for one that is hidden. */
  rows: [],
  drawn: { messages: [], boxes: [], signs: [] },
  pointer: null,
  part: null,
};

const colors = new Map();

/** A colour of the style sheet. */
function color(name) {
  const known = colors.get(name);
  if (known !== undefined) return known;
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  colors.set(name, value);
  return value;
}

const xOf = (time) => LABELS + ((time - view.from) / (view.to - view.from)) * (diagram.width - LABELS);
const timeOf = (x) => view.from + ((x - LABELS) / (diagram.width - LABELS)) * (view.to - view.from);

/** Makes a canvas as fine as the screen. */
function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Servers get three times as much room as clients. */
function layOut() {
  const shown = run.lanes.map((lane, index) => (view.lanes[index] ? (lane.what === "client" ? 1 : 3) : 0));
  const total = shown.reduce((sum, share) => sum + share, 0) || 1;
  const unit = Math.min((diagram.height - AXIS - 8) / total, 44);
  let top = AXIS + 4;
  diagram.rows = shown.map((share) => {
    if (share === 0) return null;
    const row = { top, middle: top + (share * unit) / 2, half: (share * unit) / 2 };
    top += share * unit;
    return row;
  });
  diagram.bottom = top;
}

function drawDiagram() {
  const { context, width, height } = fit(diagram.canvas);
  Object.assign(diagram, { width, height });
  diagram.drawn = { messages: [], boxes: [], signs: [] };
  layOut();
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  drawAxis(context);
  drawLanes(context);
  context.save();
  context.beginPath();
  context.rect(LABELS, 0, width - LABELS, height);
  context.clip();
  // Messages pass below the bands of those whom they do not concern.
  drawMessages(context);
  drawSpans(context);
  if (diagram.drawn.messages.length < 90) nameMessages(context);
  drawSigns(context);
  drawMoments(context);
  drawKept(context);
  context.restore();
  drawPointer(context);
  tell();
}

/** What a test, or whoever is curious, can read of what is drawn. */
function tell() {
  const { messages, boxes, signs } = diagram.drawn;
  Object.assign(diagram.canvas.dataset, {
    lanes: diagram.rows.filter((row) => row !== null).length,
    messages: messages.length,
    boxes: boxes.length,
    signs: signs.length,
    from: seconds(view.from),
    to: seconds(view.to),
  });
}

function stepOfAxis() {
  const wanted = ((view.to - view.from) * 110) / Math.max(diagram.width - LABELS, 1);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= wanted);
}

function drawAxis(context) {
  const step = stepOfAxis();
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let time = Math.ceil(Math.max(view.from, 0) / step) * step; time <= view.to; time += step) {
    const x = Math.round(xOf(time)) + 0.5;
    if (x < LABELS) continue;
    context.strokeStyle = color("--lane");
    context.beginPath();
    context.moveTo(x, AXIS - 8);
    context.lineTo(x, diagram.bottom);
    context.stroke();
    context.fillStyle = color("--quiet");
    context.fillText(`${seconds(time, step)} s`, x, 13);
  }
}

function drawLanes(context) {
  const accused = run.violation === null ? [] : run.violation.lanes;
  context.textBaseline = "middle";
  run.lanes.forEach((lane, index) => {
    const row = diagram.rows[index];
    if (row === null) return;
    context.strokeStyle = color("--lane");
    context.beginPath();
    context.moveTo(0, Math.round(row.top + 2 * row.half) + 0.5);
    context.lineTo(diagram.width, Math.round(row.top + 2 * row.half) + 0.5);
    context.moveTo(LABELS, row.middle);
    context.lineTo(diagram.width, row.middle);
    context.stroke();
    if (accused.includes(index)) {
      context.fillStyle = color("--bad");
      context.fillRect(0, row.top + 2, 4, row.half * 2 - 4);
    }
    const isServer = lane.what !== "client";
    context.textAlign = "left";
    context.fillStyle = color(accused.includes(index) ? "--bad" : isServer ? "--text" : "--quiet");
    context.font = `${isServer ? "600 14px" : "12px"} system-ui, 'DejaVu Sans', sans-serif`;
    context.fillText(lane.name, 12, row.middle);
    if (isServer && row.half > 18) {
      context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
      context.fillStyle = color("--quiet");
      context.fillText(lane.what, 12, row.middle + 14);
    }
  });
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
}

/** How thick the band of a lane is, half of it. */
function bandOf(lane) {
  const row = diagram.rows[lane];
  return run.lanes[lane].what === "client" ? Math.min(3, row.half / 3) : Math.min(9, row.half / 3);
}

/** The place of a span on its lane: top and height. */
function placeOf(kind, lane) {
  const row = diagram.rows[lane];
  const band = bandOf(lane);
  const strip = STRIPS.indexOf(kind);
  if (strip >= 0) {
    const high = Math.max(3, Math.min(6, (row.half - band - 2) / STRIPS.length));
    return { top: row.middle - band - 2 - (strip + 1) * high, high: high - 1 };
  }
  if (STATES.includes(kind)) return { top: row.middle - band, high: band * 2 };
  if (kind === "session") return { top: row.middle - 1.5, high: 3 };
  return { top: row.middle - band, high: band * 2 };
}

function drawSpans(context) {
  const { at, lasts, lane, kind } = run.spans;
  const last = new Map();
  for (const layer of ["under", "over"]) {
    for (let index = firstReaching(run.spans, view.from); index < at.length && at[index] <= view.to; index += 1) {
      const name = run.spanKinds[kind[index]];
      const isUnder = name === "session" || STATES.includes(name);
      if (isUnder !== (layer === "under") || at[index] + lasts[index] < view.from) continue;
      if (!STATES.includes(name) && !isShown(SPAN, index)) continue;
      const row = diagram.rows[lane[index]];
      if (row === null) continue;
      const begin = Math.max(xOf(at[index]), LABELS - 2);
      const end = Math.min(xOf(at[index] + lasts[index]), diagram.width + 2);
      const key = lane[index] * 32 + kind[index];
      if (end - begin < 1 && last.get(key) === Math.floor(end)) continue;
      last.set(key, Math.floor(end));
      drawSpan(context, index, name, begin, Math.max(end - begin, 1));
    }
  }
  context.globalAlpha = 1;
}

function drawSpan(context, index, name, left, wide) {
  const lane = run.spans.lane[index];
  const { top, high } = placeOf(name, lane);
  context.globalAlpha = isMatch(SPAN, index) || STATES.includes(name) ? 1 : 0.15;
  context.fillStyle = color(`--${name}`);
  context.fillRect(left, top, wide, high);
  if (name === "down") {
    context.strokeStyle = color("--edge");
    context.strokeRect(left + 0.5, top + 0.5, wide - 1, high - 1);
  }
  if (name === "pause" || name === "cut") hatch(context, left, top, wide, high);
  diagram.drawn.boxes.push({ left, top, wide, high, index });
  if (!STATES.includes(name) || wide < 46 || high < 12) return;
  const epoch = /epoch (\d+)/.exec(run.texts[run.spans.text[index]]);
  const words = epoch && name !== "looking" ? `${name} · epoch ${epoch[1]}` : name;
  // Behind the sign of what began it.
  const indent = left >= LABELS ? 13 : 5;
  const fits = [words, name].find((text) => context.measureText(text).width < wide - indent - 3);
  if (fits === undefined) return;
  context.textAlign = "left";
  context.fillStyle = color(name === "leading" || name === "serving" ? "--on-leading" : "--text");
  context.fillText(fits, Math.max(left, LABELS) + indent, top + high / 2 + 0.5);
}

function hatch(context, left, top, wide, high) {
  context.strokeStyle = color("--paper");
  context.beginPath();
  for (let x = left - (left % 7); x < left + wide; x += 7) {
    context.moveTo(Math.max(x, left), top + high);
    context.lineTo(Math.min(x + high, left + wide), top);
  }
  context.stroke();
}

/** Messages in sight, at most one for each pixel where it begins, way and kind. */
function messagesInSight() {
  const { at, took, from, to, kind } = run.messages;
  const last = new Map();
  const found = [];
  const lanes = run.lanes.length;
  for (let index = firstReaching(run.messages, view.from); index < at.length && at[index] <= view.to; index += 1) {
    if (at[index] + Math.max(took[index], 0) < view.from || !isShown(MESSAGE, index)) continue;
    const key = ((kind[index] * lanes + from[index]) * lanes + to[index]) * 2 + (isMatch(MESSAGE, index) ? 1 : 0);
    const pixel = Math.floor(xOf(at[index]));
    if (last.get(key) === pixel) continue;
    last.set(key, pixel);
    found.push(index);
  }
  return found;
}

function drawMessages(context) {
  const found = messagesInSight();
  const isDense = found.length > 1500;
  const isSparse = found.length < 300;
  const faint = found.length > 8000 ? 0.18 : 0.35;
  const byColor = new Map();
  for (const index of found) {
    const line = lineOf(index);
    diagram.drawn.messages.push(line);
    const alpha = isMatch(MESSAGE, index) ? (isDense && view.matches === null ? faint : 0.9) : 0.06;
    const key = `${color(`--${run.kinds[run.messages.kind[index]]}`)} ${alpha}`;
    if (!byColor.has(key)) byColor.set(key, []);
    byColor.get(key).push(line);
  }
  for (const [key, lines] of byColor) {
    const space = key.lastIndexOf(" ");
    context.strokeStyle = key.slice(0, space);
    context.fillStyle = context.strokeStyle;
    context.globalAlpha = Number(key.slice(space + 1));
    context.lineWidth = isDense ? 1 : 1.3;
    strokeAll(context, lines, isSparse);
  }
  context.globalAlpha = 1;
  context.lineWidth = 1;
}

/** Where a message is drawn. One that did not arrive ends on its way, in a cross. */
function lineOf(index) {
  const { at, took, from, to } = run.messages;
  const [one, other] = [diagram.rows[from[index]], diagram.rows[to[index]]];
  const down = Math.sign(other.middle - one.middle);
  const begin = one.middle + down * bandOf(from[index]);
  const end = other.middle - down * bandOf(to[index]);
  const x = xOf(at[index]);
  if (took[index] >= 0) return { index, x, y: begin, toX: xOf(at[index] + took[index]), toY: end, lost: false };
  return { index, x, y: begin, toX: x + 14, toY: begin + (end - begin) * 0.35, lost: true };
}

function strokeAll(context, lines, hasHeads) {
  context.beginPath();
  for (const { x, y, toX, toY, lost } of lines) {
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    if (lost) {
      context.moveTo(toX - 3, toY - 3);
      context.lineTo(toX + 3, toY + 3);
      context.moveTo(toX - 3, toY + 3);
      context.lineTo(toX + 3, toY - 3);
    }
  }
  context.stroke();
  if (!hasHeads) return;
  context.beginPath();
  for (const { x, y, toX, toY, lost } of lines) {
    if (lost) continue;
    const angle = Math.atan2(toY - y, toX - x);
    context.moveTo(toX, toY);
    context.lineTo(toX - 7 * Math.cos(angle - 0.35), toY - 7 * Math.sin(angle - 0.35));
    context.lineTo(toX - 7 * Math.cos(angle + 0.35), toY - 7 * Math.sin(angle + 0.35));
  }
  context.fill();
}

/** Writes on messages what they say, where that covers nothing else. */
function nameMessages(context) {
  const taken = [];
  context.font = "11px ui-monospace, 'DejaVu Sans Mono', monospace";
  context.textAlign = "left";
  for (const { index, x, y, toX, toY } of diagram.drawn.messages) {
    const text = run.texts[run.messages.text[index]].slice(0, 44);
    const wide = context.measureText(text).width;
    const box = { left: x * 0.65 + toX * 0.35 + 5, top: y * 0.65 + toY * 0.35 - 7, wide, high: 14 };
    const covers = (other) => box.left < other.left + other.wide && other.left < box.left + box.wide
      && box.top < other.top + other.high && other.top < box.top + box.high;
    if (taken.some(covers)) continue;
    taken.push(box);
    context.globalAlpha = 0.85;
    context.fillStyle = color("--paper");
    context.fillRect(box.left - 2, box.top, wide + 4, 14);
    context.globalAlpha = isMatch(MESSAGE, index) ? 1 : 0.3;
    context.fillStyle = color(`--${run.kinds[run.messages.kind[index]]}`);
    context.fillText(text, box.left, box.top + 7);
  }
  context.globalAlpha = 1;
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
}

/** How signs look: colour, place below the middle (in bands), and form. */
const LOOKS = {
  crash: ["--bad", 0, "cross"],
  start: ["--good", 0, "play"],
  stop: ["--bad", 0, "square"],
  fault: ["--bad", -1.4, "flag"],
  role: ["--accent", 1.5, "tick"],
  log: ["--quiet", 1.9, "tick"],
  apply: ["--good", 2.3, "tick"],
  disk: ["--stall", 1.5, "dot"],
  session: ["--good", 1.5, "dot"],
  event: ["--sync", -1.6, "dot"],
  remark: ["--quiet", 1.5, "dot"],
  healed: ["--good", 0, "tick"],
};

function drawSigns(context) {
  const { at, lane, kind } = run.signs;
  const last = new Map();
  for (let index = lowerBound(at, view.from); index < at.length && at[index] <= view.to; index += 1) {
    if (lane[index] < 0 || !isShown(SIGN, index)) continue;
    const x = xOf(at[index]);
    const key = lane[index] * 32 + kind[index];
    if (last.get(key) === Math.floor(x)) continue;
    last.set(key, Math.floor(x));
    const [name, below, form] = LOOKS[run.signKinds[kind[index]]];
    const y = diagram.rows[lane[index]].middle + below * bandOf(lane[index]);
    context.globalAlpha = isMatch(SIGN, index) ? 1 : 0.12;
    context.fillStyle = color(name);
    context.strokeStyle = color(name);
    FORMS[form](context, x, y);
    diagram.drawn.signs.push({ x, y, index });
  }
  context.globalAlpha = 1;
}

const FORMS = {
  tick: (context, x, y) => context.fillRect(x - 0.5, y - 2, 1.4, 5),
  dot: (context, x, y) => fillPath(context, () => context.arc(x, y, 2.4, 0, 7)),
  square: (context, x, y) => context.fillRect(x - 5, y - 5, 10, 10),
  play: (context, x, y) => fillPath(context, () => {
    context.moveTo(x - 3, y - 6);
    context.lineTo(x + 7, y);
    context.lineTo(x - 3, y + 6);
  }),
  flag: (context, x, y) => fillPath(context, () => {
    context.moveTo(x, y + 4);
    context.lineTo(x - 4, y - 4);
    context.lineTo(x + 4, y - 4);
  }),
  cross: (context, x, y) => {
    context.lineWidth = 3.5;
    context.beginPath();
    context.moveTo(x - 6, y - 6);
    context.lineTo(x + 6, y + 6);
    context.moveTo(x - 6, y + 6);
    context.lineTo(x + 6, y - 6);
    context.stroke();
    context.lineWidth = 1;
  },
};

function fillPath(context, path) {
  context.beginPath();
  path();
  context.fill();
}

/** The moments that concern everybody: when faults stopped, and when the run failed. */
function drawMoments(context) {
  if (run.healed !== null) moment(context, run.healed, "--good", "all faults stop", "right");
  if (run.violation !== null) {
    moment(context, run.end, "--bad", `✗ ${run.violation.check}`, "right");
    diagram.canvas.dataset.violation = Math.round(xOf(run.end));
    ringAccused(context);
  }
}

function moment(context, time, name, words, side) {
  const x = xOf(time);
  if (x < LABELS || x > diagram.width) return;
  context.strokeStyle = color(name);
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x, AXIS - 10);
  context.lineTo(x, diagram.bottom);
  context.stroke();
  context.lineWidth = 1;
  const wide = context.measureText(words).width + 14;
  const left = side === "right" && x + wide < diagram.width ? x : x - wide;
  context.fillStyle = color(name);
  context.fillRect(left, AXIS - 14, wide, 17);
  context.fillStyle = color("--paper");
  context.textAlign = "left";
  context.fillText(words, left + 7, AXIS - 5);
}

function ringAccused(context) {
  const x = xOf(run.end);
  context.strokeStyle = color("--bad");
  context.lineWidth = 3;
  for (const lane of run.violation.lanes) {
    const row = diagram.rows[lane];
    if (row === null) continue;
    context.beginPath();
    context.arc(x, row.middle, Math.min(13, row.half), 0, 7);
    context.stroke();
  }
  context.lineWidth = 1;
}

/** What the reader clicked on, and what the pointer is on. */
function drawKept(context) {
  for (const [event, width] of [[view.hovered, 2.5], [view.kept, 3.5]]) {
    if (event === null || !isDrawable(event)) continue;
    context.strokeStyle = color(event.table === MESSAGE ? `--${run.kinds[run.messages.kind[event.index]]}` : "--accent");
    context.fillStyle = context.strokeStyle;
    context.lineWidth = width;
    if (event.table === MESSAGE) {
      strokeAll(context, [lineOf(event.index)], true);
    } else {
      const { left, top, wide, high } = boxOf(event);
      context.strokeRect(left - 2, top - 2, wide + 4, high + 4);
    }
    context.lineWidth = 1;
  }
}

function isDrawable({ table, index }) {
  const { lane, from, to } = run.tables[table];
  const lanes = table === MESSAGE ? [from[index], to[index]] : [lane[index]];
  return lanes.every((number) => number >= 0 && diagram.rows[number] !== null);
}

function boxOf({ table, index }) {
  const { at, lane, kind } = run.tables[table];
  if (table === SPAN) {
    const left = xOf(at[index]);
    const wide = Math.max(xOf(at[index] + run.spans.lasts[index]) - left, 2);
    return { left, wide, ...placeOf(run.spanKinds[kind[index]], lane[index]) };
  }
  const below = LOOKS[run.signKinds[kind[index]]][1];
  const y = diagram.rows[lane[index]].middle + below * bandOf(lane[index]);
  return { left: xOf(at[index]) - 5, wide: 10, top: y - 5, high: 10 };
}

function drawPointer(context) {
  const { pointer, part } = diagram;
  if (part !== null) {
    context.fillStyle = color("--accent");
    context.globalAlpha = 0.15;
    context.fillRect(Math.min(part.from, part.to), AXIS, Math.abs(part.to - part.from), diagram.bottom - AXIS);
    context.globalAlpha = 1;
  }
  if (pointer === null || pointer.x < LABELS) return;
  context.strokeStyle = color("--quiet");
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(pointer.x, AXIS - 8);
  context.lineTo(pointer.x, diagram.bottom);
  context.stroke();
  context.setLineDash([]);
  const words = `${seconds(timeOf(pointer.x), (view.to - view.from) / 1000)} s`;
  const wide = context.measureText(words).width + 10;
  context.fillStyle = color("--text");
  context.fillRect(pointer.x - wide / 2, 4, wide, 18);
  context.fillStyle = color("--paper");
  context.textAlign = "center";
  context.fillText(words, pointer.x, 13);
}

/** What is at a place: signs before messages before spans, because the smaller is harder to hit. */
function eventAt(x, y) {
  const sign = nearest(diagram.drawn.signs, (it) => Math.hypot(it.x - x, it.y - y), 7);
  if (sign !== null) return { table: SIGN, index: sign.index };
  const message = nearest(diagram.drawn.messages, (it) => distance(it, x, y), 5);
  if (message !== null) return { table: MESSAGE, index: message.index };
  const isIn = ({ left, top, wide, high }) => x >= left - 2 && x <= left + wide + 2 && y >= top - 1 && y <= top + high + 1;
  const box = diagram.drawn.boxes.findLast(isIn);
  return box === undefined ? null : { table: SPAN, index: box.index };
}

function nearest(items, far, most) {
  let best = null;
  let least = most;
  for (const item of items) {
    const here = far(item);
    if (here < least) [best, least] = [item, here];
  }
  return best;
}

/** How far a place is from a line. */
function distance({ x, y, toX, toY }, pointX, pointY) {
  const [dx, dy] = [toX - x, toY - y];
  const along = ((pointX - x) * dx + (pointY - y) * dy) / (dx * dx + dy * dy || 1);
  const part = Math.min(Math.max(along, 0), 1);
  return Math.hypot(x + part * dx - pointX, y + part * dy - pointY);
}
