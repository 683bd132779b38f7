// Axes of a chart: lines, ticks, labels.

/** Grid, ticks and labels along both axes; the box is [left, top, right, bottom] in pixels. */
function axes(x, y, metaX, metaY, box, wayX, wayY) {
  const [left, top, right, bottom] = box, parts = [];
  for (const v of x.ticks(Math.max(3, Math.floor((right - left) / 70)))) {
    if (metaX.whole && !Number.isInteger(v)) continue; // there is no half of a trial
    parts.push(s("line", { class: "grid", x1: x(v), x2: x(v), y1: top, y2: bottom }));
    parts.push(s("text", { class: "tick middle", x: x(v), y: bottom + 16 }, tickText(metaX.kind, v)));
  }
  for (const v of y.ticks(Math.max(3, Math.floor((bottom - top) / 36)))) {
    parts.push(s("line", { class: "grid", x1: left, x2: right, y1: y(v), y2: y(v) }));
    parts.push(s("text", { class: "tick end", x: left - 6, y: y(v) + 4 }, tickText(metaY.kind, v)));
  }
  parts.push(s("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }));
  parts.push(s("text", { class: "label end", x: right, y: bottom + 36 }, metaX.label + said(wayX, metaX, "→←")));
  parts.push(s("text", { class: "label", x: 4, y: top - 10 }, metaY.label + said(wayY, metaY, "↑↓")));
  return parts;
}

function said(way, meta, arrows) {
  const better = meta.up === null ? "" : ` ${arrows[meta.up ? 0 : 1]} better`;
  return better + { linear: "", log: " · log", error: " · log of the error" }[way];
}

/** Many marks as one path: `mark` gives the path of one at its place. */
const marks = (className, places, mark) => s("path", { class: className, d: places.map(([x, y]) => mark(x.toFixed(1), y.toFixed(1))).join("") });
const dot = (x, y) => `M${x} ${y}h0`;
const triangle = (x, y) => `M${x - 4} ${y - 3}h8l-4 7z`;
const stroke = (x, y) => `M${x} ${y}v9`;
