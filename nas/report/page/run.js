// The run as the page knows it, and what is chosen at the moment: filters and one selected trial.

const DATA = JSON.parse(byId("data").textContent);
const FIGURES = DATA.figures;
const META = Object.fromEntries(FIGURES.map((f) => [f.name, f]));

const TRIALS = DATA.trials.number.map((number, i) => ({
  number,
  at: i,
  state: DATA.states[DATA.trials.state[i]],
  front: DATA.trials.front[i] === 1,
  knee: number === DATA.knee,
  words: DATA.texts[DATA.trials.words[i]],
  reason: DATA.texts[DATA.trials.reason[i]],
  share: DATA.trials.share[i],
  value: (name) => DATA.trials.figures[name][i],
  interval: (name) => (DATA.trials.intervals[name] ? DATA.trials.intervals[name][i] : null),
}));
const BY_NUMBER = new Map(TRIALS.map((t) => [t.number, t]));

/** What a trial is, for what it is drawn as: front, dominated, stopped, over or other. */
function role(trial) {
  if (trial.front) return "front";
  return { complete: "dominated", stopped_early: "stopped", over_budget: "over" }[trial.state] || "other";
}

const MEMBERS = TRIALS.filter((t) => t.front);
const known = (trials, name) => trials.map((t) => t.value(name)).filter((v) => v !== null);
const alike = (trial) => DATA.alike[trial.number] || [];

const STATE = { filters: new Map(), selected: null, shown: { dominated: true, stopped: true, over: true } };
const listeners = [];
const onChange = (tell) => listeners.push(tell);
const changed = () => listeners.forEach((tell) => tell());

function passes(trial) {
  for (const [name, [low, high]] of STATE.filters) {
    const value = trial.value(name);
    if (value === null || value < low || value > high) return false;
  }
  return true;
}

function setFilter(name, low, high) {
  if (low === null && high === null) STATE.filters.delete(name);
  else STATE.filters.set(name, [low === null ? -Infinity : low, high === null ? Infinity : high]);
  changed();
}

function select(number) {
  STATE.selected = number;
  changed();
}

/** A figure of a trial with its interval, as text. */
function told(trial, name) {
  const { kind } = META[name], between = trial.interval(name);
  const value = figure(kind, trial.value(name));
  return between ? `${value} [${figure(kind, between[0], false)}, ${figure(kind, between[1], false)}]` : value;
}

const WHAT = {
  front: "on the front",
  dominated: "dominated",
  stopped: "stopped early",
  over: "over budget, never trained",
  other: "not on the chart",
};

/** One line on what a trial is. */
const whatIs = (trial) => WHAT[role(trial)] + (trial.knee ? ", the knee" : "");

/** Whom a trial cannot be told apart from, as a sentence; "" where there is nobody. */
function doubt(trial) {
  const others = alike(trial);
  if (!others.length) return "";
  const named = others.slice(0, 6).join(", ") + (others.length > 6 ? ", …" : "");
  return `Latency intervals overlap: not known to be faster or slower than trial ${named}.`;
}
