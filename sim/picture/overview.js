"use strict";

// The whole run in a strip: what servers were, where faults are, how many messages there were. The frame is the part
// that the diagram shows; it can be moved, and another one drawn.

const overview = { canvas: document.getElementById("overview"), width: 0, ground: null };

const overviewX = (time) => LABELS + (time / run.end) * (overview.width - LABELS - 8);
const overviewTime = (x) => ((x - LABELS) / (overview.width - LABELS - 8)) * run.end;

function drawOverview() {
  const { context, width, height } = fit(overview.canvas);
  overview.width = width;
  const servers = run.lanes.filter((lane) => lane.what !== "client").length;
  const bar = Math.max(2, Math.min(9, (height - 26) / Math.max(servers, 1)));
  drawTraffic(context, height);
  drawStates(context, bar, servers);
  drawFaults(context, bar);
  if (run.violation !== null) {
    context.fillStyle = color("--bad");
    context.fillRect(overviewX(run.end) - 1, 0, 3, height);
  }
  context.fillStyle = color("--quiet");
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  context.fillText("whole run", 12, 14);
  context.fillText(`${seconds(run.end, 1e4)} s`, 12, 28);
  drawFrame(context, height);
}

/** How many messages of the groups that are shown there were, at each pixel. */
function drawTraffic(context, height) {
  const { at, kind, groups } = run.messages;
  const columns = new Uint32Array(overview.width + 1);
  for (let index = 0; index < at.length; index += 1) {
    if (view.groups[groups[kind[index]]]) columns[Math.floor(overviewX(at[index]))] += 1;
  }
  const most = columns.reduce((one, other) => Math.max(one, other), 1);
  context.fillStyle = color("--following");
  columns.forEach((count, x) => {
    const high = Math.sqrt(count / most) * 20;
    context.fillRect(x, height - high, 1, high);
  });
}

function drawStates(context, bar, servers) {
  const { at, lasts, lane, kind } = run.spans;
  for (let index = 0; index < at.length; index += 1) {
    const name = run.spanKinds[kind[index]];
    if (lane[index] >= servers || !STATES.includes(name)) continue;
    const x = overviewX(at[index]);
    context.fillStyle = color(`--${name}`);
    context.fillRect(x, 4 + lane[index] * bar, Math.max(overviewX(at[index] + lasts[index]) - x, 0.5), bar - 1);
  }
}

function drawFaults(context, bar) {
  const { at, lane, kind } = run.signs;
  const isFault = run.signKinds.map((name) => name === "fault" || name === "crash");
  context.fillStyle = color("--bad");
  for (let index = 0; index < at.length; index += 1) {
    if (isFault[kind[index]] && lane[index] >= 0 && run.lanes[lane[index]].what !== "client") {
      context.fillRect(overviewX(at[index]) - 0.5, 4 + lane[index] * bar, 1.5, bar - 1);
    }
  }
}

function drawFrame(context, height) {
  const [left, right] = [overviewX(Math.max(view.from, 0)), overviewX(Math.min(view.to, run.end))];
  context.fillStyle = color("--paper");
  context.globalAlpha = 0.6;
  context.fillRect(LABELS, 0, Math.max(left - LABELS, 0), height);
  context.fillRect(right, 0, Math.max(overview.width - right, 0), height);
  context.globalAlpha = 1;
  context.strokeStyle = color("--accent");
  context.lineWidth = 2;
  context.strokeRect(left, 1, Math.max(right - left, 3), height - 2);
  context.lineWidth = 1;
}

/** A press inside of the frame moves it, one outside draws a new one. */
function overviewPressed(event) {
  const begin = overviewTime(event.offsetX);
  const { from, to } = view;
  const isInside = begin > from && begin < to && to - from < run.end * 0.98;
  overview.canvas.setPointerCapture(event.pointerId);
  const onMove = (moved) => {
    const now = overviewTime(moved.offsetX);
    if (isInside) look(from + now - begin, to + now - begin);
    else if (Math.abs(now - begin) > run.end / 500) look(Math.min(begin, now), Math.max(begin, now));
  };
  const onEnd = (ended) => {
    overview.canvas.removeEventListener("pointermove", onMove);
    const width = to - from;
    const wasClick = Math.abs(ended.offsetX - event.offsetX) < 3;
    if (wasClick && !isInside) look(begin - width / 2, begin + width / 2);
  };
  overview.canvas.addEventListener("pointermove", onMove);
  overview.canvas.addEventListener("pointerup", onEnd, { once: true });
}
