// What one learns of a trial by pointing at it, focusing it or tapping it.

const TIP = byId("tooltip");

function showTip(trial, x, y) {
  TIP.replaceChildren(...about(trial));
  TIP.hidden = false;
  if (window.innerWidth < 600) {
    TIP.style.left = TIP.style.top = ""; // a sheet at the lower end, by the style sheet
    return;
  }
  const { width, height } = TIP.getBoundingClientRect();
  const left = x + 16 + width < window.innerWidth ? x + 16 : Math.max(8, x - 16 - width);
  TIP.style.left = `${left}px`;
  TIP.style.top = `${Math.min(Math.max(8, y - height / 3), Math.max(8, window.innerHeight - height - 8))}px`;
}

function hideTip() {
  TIP.hidden = true;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
window.addEventListener("scroll", hideTip, { passive: true });

function about(trial) {
  const rows = FIGURES.filter((f) => trial.value(f.name) !== null).map((f) =>
    h("tr", null, h("th", { scope: "row" }, f.head), h("td", null, told(trial, f.name))));
  return [
    h("p", { class: "tip-title" }, h("strong", null, `Trial ${trial.number}`), ` · ${whatIs(trial)}`),
    trial.words && h("p", { class: "words" }, trial.words),
    h("table", null, h("tbody", null, rows)),
    trial.reason && h("p", { class: "quiet" }, trial.reason),
    doubt(trial) && h("p", { class: "quiet" }, doubt(trial)),
    curve(trial),
  ].filter(Boolean);
}

/** The validation curve of a trial, small; null where there is none. */
function curve(trial, width = 220, height = 74) {
  const points = DATA.curves[trial.number];
  if (!points || points[1].some((v) => v === null)) return null;
  const { label, kind } = DATA.curve, [epochs, values] = points, lower = height - 16;
  const text = (v) => figure(kind, v), most = Math.max(...values), least = Math.min(...values);
  const left = 8 + 6 * Math.max(text(most).length, text(least).length);
  const x = scale("linear", 0, epochs[epochs.length - 1], left, width - 6, 0);
  const y = scale("linear", least, most, lower, 6, 0.05);
  const path = epochs.map((e, i) => `${i ? "L" : "M"}${x(e).toFixed(1)} ${y(values[i]).toFixed(1)}`).join("");
  const last = epochs.length - 1, shown = label.length > 22 ? label.replace(/^validation /, "") : label; // beside the epochs
  return h("figure", { class: "curve" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label":
      `${label[0].toUpperCase()}${label.slice(1)} over ${digits(epochs[last], 3)} epochs: from ${text(values[0])} to ${text(values[last])}` },
      s("path", { class: "axis", d: `M${left} 4V${lower}H${width - 4}` }),
      s("path", { class: "line", d: path }),
      s("circle", { class: "dot", cx: x(epochs[last]), cy: y(values[last]), r: 2.5 }),
      s("text", { x: left - 4, y: 12, class: "tick end" }, text(most)),
      s("text", { x: left - 4, y: lower, class: "tick end" }, text(least)),
      s("text", { x: width - 6, y: height - 3, class: "tick end" }, `${digits(epochs[last], 3)} epochs`),
      s("text", { x: left, y: height - 3, class: "tick" }, shown)));
}
