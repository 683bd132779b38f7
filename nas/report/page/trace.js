// The hypervolume of the front over trials, or over seconds.

const TRACE = { over: "trials" };
let traceWidth = 0;

function traceControls() {
  if (!DATA.trace.timed || !DATA.trace.points.length) return;
  const radio = (value, text) => h("label", { class: "tick-box" }, h("input", { type: "radio", name: "trace-over", id: `trace-${value}`, checked: TRACE.over === value,
    onchange: () => { TRACE.over = value; drawTrace(); } }), text);
  byId("trace-controls").replaceChildren(radio("trials", "over trainings"), radio("seconds", "over time"));
}

function drawTrace(width = traceWidth) {
  if (!(traceWidth = width)) return;
  const points = DATA.trace.points, host = byId("trace-chart");
  if (points.length < 2) return host.replaceChildren(h("p", { class: "quiet" }, "Fewer than two trials were trained to the end, so there is nothing to follow."));
  const height = 260, [left, top, right, bottom] = [58, 34, width - 14, height - 46], timed = TRACE.over === "seconds";
  const across = points.map((p) => (timed ? p[2] : p[0])), volume = points.map((p) => p[3]);
  const metaX = timed ? { kind: "count", label: "seconds of searching", up: null } : { kind: "count", label: "trials trained to the end", up: null };
  const x = scale("linear", 0, across[across.length - 1], left, right, 0), y = scale("linear", 0, Math.max(...volume), bottom, top, 0);
  const path = points.map((p, i) => (i ? `H${x(across[i]).toFixed(1)}V${y(volume[i]).toFixed(1)}` : `M${x(across[0]).toFixed(1)} ${y(volume[0]).toFixed(1)}`)).join("");
  const grown = points.filter((p, i) => i === 0 || p[3] > points[i - 1][3]).map((p) => [x(timed ? p[2] : p[0]), y(p[3])]);
  const last = volume[volume.length - 1];
  const grid = axes(x, y, metaX, { kind: "loss", label: "hypervolume", up: true }, [left, top, right, bottom], "linear", "linear");
  host.replaceChildren(s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Hypervolume of the front over ${metaX.label}: ${digits(volume[0], 3)} at first, ${digits(last, 3)} in the end; it grew ${grown.length} times.` },
    grid, s("path", { class: "stairs", d: path }), marks("grown", grown, dot),
    s("text", { class: "number end", x: right - 2, y: y(last) - 8 }, digits(last, 4))));
  const end = points[points.length - 1], lastGrown = points.filter((p, i) => i === 0 || p[3] > points[i - 1][3]).pop();
  byId("trace-note").textContent = `The share, of the box between the best and the worst of the first ten trials, that the front dominates (prices by their logarithm); above 1 where it has left the box. `
    + `It last grew with trial ${lastGrown[1]}, ${end[0] > lastGrown[0] ? `${many(end[0] - lastGrown[0], "full training")} before the end` : "the last full training"}.`
    + (DATA.trace.timed ? "" : " When trials ended was not kept by the version that made this run, so there is no trace over time.");
}
