// The hypervolume of the front over trials, or over time.

const TRACE = { over: "trials" };
const SPANS = [[7200, 3600, "hours"], [180, 60, "minutes"], [0, 1, "seconds"]];
let traceWidth = 0;

function traceControls() {
  if (!DATA.trace.timed || DATA.trace.points.length < 2) return;
  const radio = (value, text) => h("label", { class: "tick-box" }, h("input", { type: "radio", name: "trace-over", id: `trace-${value}`, checked: TRACE.over === value,
    onchange: () => { TRACE.over = value; drawTrace(); } }), text);
  byId("trace-controls").replaceChildren(radio("trials", "over trainings"), radio("seconds", "over time"));
}

function drawTrace(width = traceWidth) {
  if (!(traceWidth = width)) return;
  const points = DATA.trace.points, host = byId("trace-chart");
  if (points.length < 2) return host.replaceChildren(h("p", { class: "quiet" }, nothingToFollow()));
  const height = 260, [left, top, right, bottom] = [58, 34, width - 14, height - 46], timed = TRACE.over === "seconds";
  const [, unit, span] = SPANS.find(([least]) => points[points.length - 1][2] >= least);
  const place = (p) => (timed ? p[2] / unit : p[0]), across = points.map(place), volume = points.map((p) => p[3]);
  const metaX = timed ? { kind: "loss", label: `${span} of searching`, up: null } : { kind: "count", whole: true, label: "trials trained to the end", up: null };
  const x = scale("linear", 0, across[across.length - 1], left, right, 0), y = scale("linear", 0, Math.max(...volume), bottom, top, 0);
  const path = points.map((p, i) => (i ? `H${x(across[i]).toFixed(1)}V${y(volume[i]).toFixed(1)}` : `M${x(across[0]).toFixed(1)} ${y(0).toFixed(1)}V${y(volume[0]).toFixed(1)}`)).join("");
  const steps = points.filter((p, i) => i === 0 || p[3] > points[i - 1][3]), last = volume[volume.length - 1];
  const grid = axes(x, y, metaX, { kind: "loss", label: "hypervolume", up: true }, [left, top, right, bottom], "linear", "linear");
  host.replaceChildren(s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Hypervolume of the front over ${metaX.label}: ${digits(volume[0], 3)} at first, ${digits(last, 3)} in the end; it grew ${many(steps.length - 1, "time")}.` },
    grid, s("path", { class: "stairs", d: path }), marks("grown", steps.map((p) => [x(place(p)), y(p[3])]), dot),
    s("text", { class: "number end", x: right - 2, y: y(last) - 8 }, digits(last, 4))));
  byId("trace-note").textContent = traceNote(points[points.length - 1], steps[steps.length - 1]);
}

function nothingToFollow() {
  const complete = TRIALS.filter((t) => t.state === "complete").length;
  if (!complete) return "No trial was trained to the end yet, so there is no front.";
  if (complete === 1) return "One trial was trained to the end. How much a front dominates is told from two on: it is seen against the worst of the first ones.";
  return "Fewer than two trials have finite figures, so there is nothing to compare.";
}

function traceNote(end, step) {
  const { trials, reference } = DATA.trace.box, after = end[0] - step[0];
  const corner = Object.entries(reference).map(([name, value]) => `${META[name].head} ${figure(META[name].kind, value)}`).join(", ");
  const complete = TRIALS.filter((t) => t.state === "complete"); // a price of one's own may have no logarithm
  const plain = OBJECTIVE_NAMES.filter((name) => META[name].cheap && known(complete, name).some((v) => (META[name].up ? v >= 0 : v <= 0)));
  const scales = `prices by their logarithm${plain.length ? ` (${plain.map((name) => META[name].head).join(", ")} as it is)` : ""}`;
  const when = step[0] === 1 ? "It has not grown since the first full training"
    : `It last grew with trial ${step[1]}, ${after > 0 ? `${many(after, "full training")} before the end` : "the last full training"}`;
  return `The share of a box that the front dominates, ${scales}. The box goes from the best to a tenth beyond the worst of the first ${trials} full trainings; `
    + `that far corner, the reference point, is ${corner}. Above 1 the search has left the box. ${when}.`
    + (DATA.trace.timed ? "" : " When trials ended was not kept by the version that made this run, so there is no trace over time.");
}
