"use strict";

// The run, as it was embedded: columns become typed arrays, differences become times. Times are microseconds.

const MESSAGE = 0;
const SPAN = 1;
const SIGN = 2;

/** What a reader can switch on and off, in this order. Spans of roles are always there. */
const GROUPS = [
  { name: "election", title: "votes" },
  { name: "sync", title: "how a learner and its leader come to agree on a history" },
  { name: "broadcast", title: "proposals, acknowledgements, commits" },
  { name: "forward", title: "what a learner passes on to its leader" },
  { name: "ping", title: "signs of life" },
  { name: "client", title: "messages of clients" },
  { name: "requests", title: "requests of clients, from question to answer", color: "--done" },
  { name: "sessions", title: "sessions and watch events of clients", color: "--session" },
  { name: "faults", title: "what was made to go wrong", color: "--bad" },
  { name: "processes", title: "starts, stops, roles and epochs", color: "--leading" },
  { name: "history", title: "what is logged, applied, and found on disks", color: "--quiet" },
];

const GROUP_OF_SPAN = {
  pause: "faults", cut: "faults", hold: "faults", stall: "faults", full: "faults",
  session: "sessions", done: "requests", refused: "requests", lost: "requests",
};

const GROUP_OF_SIGN = {
  crash: "processes", start: "processes", stop: "processes", role: "processes", remark: "processes",
  fault: "faults", healed: "faults",
  log: "history", apply: "history", disk: "history",
  session: "sessions", event: "sessions",
};

const run = readRun(JSON.parse(document.getElementById("run").textContent));

function readRun(data) {
  const groupNumber = (name) => GROUPS.findIndex((group) => group.name === name);
  const messages = {
    at: sums(data.messages.sent),
    took: Int32Array.from(data.messages.took),
    from: Uint16Array.from(data.messages.from),
    to: Uint16Array.from(data.messages.to),
    kind: Uint8Array.from(data.messages.kind),
    text: Uint32Array.from(data.messages.text),
    groups: data.kinds.map(groupNumber),
  };
  const spans = {
    at: sums(data.spans.at),
    lasts: Float64Array.from(data.spans.lasts),
    lane: Int16Array.from(data.spans.lane),
    kind: Uint8Array.from(data.spans.kind),
    text: Uint32Array.from(data.spans.text),
    groups: data.spanKinds.map((kind) => groupNumber(GROUP_OF_SPAN[kind] || "processes")),
  };
  const signs = {
    at: sums(data.signs.at),
    lane: Int16Array.from(data.signs.lane),
    kind: Uint8Array.from(data.signs.kind),
    text: Uint32Array.from(data.signs.text),
    groups: data.signKinds.map((kind) => groupNumber(GROUP_OF_SIGN[kind])),
  };
  const tables = [messages, spans, signs];
  for (const table of tables) table.longest = longestBy(table);
  return { ...data, messages, spans, signs, tables, events: inOrder(tables), end: Math.max(data.end, 1) };
}

/** The times that differences lead to. */
function sums(differences) {
  const times = new Float64Array(differences.length);
  let time = 0;
  for (let index = 0; index < times.length; index += 1) {
    time += differences[index];
    times[index] = time;
  }
  return times;
}

/**
 * For each block of 256 things, when the last of all things up to its end ends: where to begin looking for what
 * reaches into a part of the run.
 */
function longestBy({ at, took, lasts }) {
  const blocks = new Float64Array(Math.ceil(at.length / 256));
  let latest = 0;
  for (let index = 0; index < at.length; index += 1) {
    const length = took ? Math.max(took[index], 0) : lasts ? lasts[index] : 0;
    latest = Math.max(latest, at[index] + length);
    blocks[index >> 8] = latest;
  }
  return blocks;
}

/** All things by the time at which they begin: which table, and where in it. */
function inOrder(tables) {
  const total = tables.reduce((sum, table) => sum + table.at.length, 0);
  const kind = new Uint8Array(total);
  const index = new Uint32Array(total);
  const next = tables.map(() => 0);
  for (let place = 0; place < total; place += 1) {
    let first = -1;
    for (let table = 0; table < tables.length; table += 1) {
      const at = tables[table].at;
      const isFirst = next[table] < at.length
        && (first < 0 || at[next[table]] < tables[first].at[next[first]]);
      if (isFirst) first = table;
    }
    kind[place] = first;
    index[place] = next[first];
    next[first] += 1;
  }
  return { kind, index };
}

/** The first place whose number is not less. */
function lowerBound(numbers, number) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where to begin in a table, so that nothing that reaches beyond `time` is missed. */
function firstReaching(table, time) {
  return lowerBound(table.longest, time) << 8;
}

/** Seconds, with as many digits as a step between two times needs. */
function seconds(time, step = 1) {
  const digits = step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 ? 3 : 6;
  return (time / 1e6).toFixed(digits);
}

const laneName = (lane) => (lane < 0 ? "all" : run.lanes[lane].name);

/** What is there to say about an event, in one line. */
function brief(table, index) {
  const text = run.texts[run.tables[table].text[index]];
  if (table === MESSAGE) {
    const { from, to, took } = run.messages;
    const arrow = took[index] < 0 ? "⇥" : "→";
    return `${laneName(from[index])} ${arrow} ${laneName(to[index])}  ${text}`;
  }
  const lane = run.tables[table].lane[index];
  const begins = new RegExp(`^${laneName(lane)}\\b`).test(text);
  return begins || lane < 0 ? text : `${laneName(lane)}  ${text}`;
}

/** What is there to say about an event, with its times. */
function full(table, index) {
  const at = run.tables[table].at[index];
  if (table === MESSAGE) {
    const took = run.messages.took[index];
    const kind = run.kinds[run.messages.kind[index]];
    const way = took < 0 ? "did not arrive" : `arrived ${seconds(at + took)} s, after ${(took / 1e3).toFixed(3)} ms`;
    return `${kind}: ${brief(table, index)}\nsent ${seconds(at)} s, ${way}`;
  }
  if (table === SPAN) {
    const lasts = run.spans.lasts[index];
    const kind = run.spanKinds[run.spans.kind[index]];
    const lane = laneName(run.spans.lane[index]);
    const until = `${seconds(at)} s to ${seconds(at + lasts)} s, ${(lasts / 1e3).toFixed(3)} ms`;
    return `${lane}, ${kind}: ${run.texts[run.spans.text[index]]}\n${until}`;
  }
  return `${run.signKinds[run.signs.kind[index]]}: ${brief(table, index)}\n${seconds(at)} s`;
}
