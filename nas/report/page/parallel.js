// Parallel coordinates: a line for each trial, an axis for each figure; what is drawn along an axis filters.

let parallelWidth = 0;
const AXIS = 74; // pixels between two axes at least

function parallelScales(top, bottom) {
  const trials = TRIALS.filter((t) => t.front || (t.state === "complete" && STATE.shown.dominated));
  return new Map(FIGURES.map((meta) => {
    const values = known(trials, meta.name);
    const way = wayOf(meta, true, values), [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    return [meta.name, meta.up ? scale(way, low, high, bottom, top, 0.02) : scale(way, low, high, top, bottom, 0.02)];
  }));
}

function drawParallel(outer = parallelWidth) {
  if (!(parallelWidth = outer) || !FIGURES.length) return;
  const width = Math.max(outer, 90 + AXIS * (FIGURES.length - 1)), height = 320, top = 48, bottom = height - 34;
  const left = 46, step = FIGURES.length > 1 ? (width - left - 56) / (FIGURES.length - 1) : 0;
  const across = new Map(FIGURES.map((f, i) => [f.name, left + i * step])), scales = parallelScales(top, bottom);
  const line = (t) => FIGURES.filter((f) => t.value(f.name) !== null)
    .map((f, i) => `${i ? "L" : "M"}${across.get(f.name).toFixed(1)} ${scales.get(f.name)(t.value(f.name)).toFixed(1)}`).join("");
  const dominated = STATE.shown.dominated ? TRIALS.filter((t) => role(t) === "dominated") : [];
  const lines = [
    s("path", { class: "ground-lines", d: dominated.filter(passes).map(line).join("") }),
    ...MEMBERS.filter((t) => !passes(t)).map((t) => s("path", { class: "member-line faded", d: line(t) })),
    ...MEMBERS.filter(passes).map((t) => s("path", { class: `member-line${t.knee ? " knee" : ""}${t.number === STATE.selected ? " selected" : ""}`, d: line(t) })),
  ];
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
    "aria-label": `${FIGURES.length} figures of ${many(MEMBERS.length, "network")} of the front. To filter with the keyboard, use “Filter by numbers”.` },
    lines, FIGURES.map((meta, i) => axisOf(meta, across.get(meta.name), scales.get(meta.name), top, bottom, i)));
  byId("parallel-chart").replaceChildren(svg);
}

function axisOf(meta, px, at, top, bottom, i) {
  const ticks = at.ticks(6).map((v) => [s("line", { class: "axis", x1: px - 3, x2: px + 3, y1: at(v), y2: at(v) }),
    s("text", { class: "tick halo", x: px + 6, y: at(v) + 4 }, tickText(meta.kind, v))]);
  const filter = STATE.filters.get(meta.name), ends = filter && filter.map((v, k) => (Number.isFinite(v) ? at(v) : (k === 0) === meta.up ? bottom : top));
  const band = filter && s("rect", { class: "band", x: px - 9, width: 18, y: Math.min(...ends), height: Math.max(Math.abs(ends[1] - ends[0]), 2), rx: 3 });
  const hit = s("rect", { class: "brush", "data-axis": meta.name, x: px - 18, width: 36, y: top - 6, height: bottom - top + 12 });
  brush(hit, meta, at, top, bottom);
  const [base, target] = meta.head.split(" @");
  return s("g", null, s("line", { class: "axis", x1: px, x2: px, y1: top, y2: bottom }), ticks, band,
    s("text", { class: "head middle", x: px, y: i % 2 && AXIS < 60 ? 14 : 22 }, base),
    target && s("text", { class: "tick middle", x: px, y: 34 }, target.length > 13 ? `${target.slice(0, 12)}…` : target),
    s("text", { class: "tick middle", x: px, y: bottom + 22 }, meta.up ? "↑ higher" : "↑ lower"), hit);
}

function brush(node, meta, at, top, bottom) {
  const here = (event) => Math.min(Math.max(event.clientY - node.ownerSVGElement.getBoundingClientRect().top, top), bottom);
  let from = null, live = null;
  node.addEventListener("pointerdown", (event) => {
    from = here(event);
    node.setPointerCapture(event.pointerId);
    live = s("rect", { class: "band", x: Number(node.getAttribute("x")) + 9, width: 18, y: from, height: 0 });
    node.before(live);
  });
  node.addEventListener("pointermove", (event) => {
    if (from === null) return;
    live.setAttribute("y", Math.min(from, here(event)));
    live.setAttribute("height", Math.abs(from - here(event)));
  });
  node.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const ends = [from, here(event)];
    from = null;
    if (Math.abs(ends[0] - ends[1]) < 4) return setFilter(meta.name, null, null);
    const values = ends.map((pixel) => (pixel <= top ? at.invert(top - 6) : pixel >= bottom ? at.invert(bottom + 6) : at.invert(pixel)));
    setFilter(meta.name, Math.min(...values), Math.max(...values));
  });
  node.addEventListener("pointercancel", () => { from = null; drawParallel(); });
}

function drawFilters() {
  const typing = document.activeElement && document.activeElement.closest("#filters");
  if (!typing) {
    byId("filters").replaceChildren(...FIGURES.map((meta) => {
      const [low, high] = STATE.filters.get(meta.name) || [-Infinity, Infinity];
      const field = (end, value) => h("input", { type: "number", step: "any", "aria-label": `${meta.label}, at ${end}`, placeholder: end === "least" ? "from" : "to",
        value: Number.isFinite(value) ? digits(value, 5) : "", onchange: (e) => {
          const fields = [...e.target.parentNode.querySelectorAll("input")].map((f) => (f.value === "" ? null : Number(f.value)));
          setFilter(meta.name, ...fields);
        } });
      return h("div", { class: "filter" }, h("span", null, meta.head), field("least", low), field("most", high));
    }));
  }
  const chips = [...STATE.filters].map(([name, [low, high]]) => {
    const end = (v) => figure(META[name].kind, v), text = !Number.isFinite(low) ? `at most ${end(high)}` : !Number.isFinite(high) ? `at least ${end(low)}` : `${end(low)} to ${end(high)}`;
    return h("button", { type: "button", class: "chip", onclick: () => setFilter(name, null, null) }, `${META[name].head} ${text}`, h("span", { "aria-label": "remove this filter" }, " ×"));
  });
  if (chips.length > 1) chips.push(h("button", { type: "button", class: "chip", onclick: () => { STATE.filters.clear(); changed(); } }, "remove all"));
  byId("chips").replaceChildren(...chips);
  const left = MEMBERS.filter(passes).length;
  byId("status").textContent = STATE.filters.size ? `${left} of ${many(MEMBERS.length, "network")} of the front ${left === 1 ? "passes" : "pass"} the filters.` : "";
}
