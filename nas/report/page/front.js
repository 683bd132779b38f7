// The front: one figure against another, for all trials that know both.

const OBJECTIVE_NAMES = FIGURES.filter((f) => f.objective).map((f) => f.name);
const VIEW = (() => {
  const find = (...tests) => tests.map((test) => FIGURES.find(test)).find((f) => f) || FIGURES[0];
  const x = find((f) => f.objective && f.cheap, (f) => f.cheap);
  const y = find((f) => f.objective && !f.cheap, (f) => f.objective && f !== x, (f) => !f.cheap, (f) => f !== x);
  return { x: x && x.name, y: y && y.name, logX: true, logY: true, whole: false };
})();

const KINDS = [
  ["dominated", "trained, dominated"],
  ["stopped", "stopped early: figures of then"],
  ["over", "over budget, never trained"],
];

function symbol(kind) {
  const shape = {
    front: () => [s("path", { class: "stairs", d: "M2 14H10V5H22" }), s("circle", { class: "member", cx: 10, cy: 5, r: 4 })],
    knee: () => [s("circle", { class: "ring", cx: 12, cy: 9, r: 7 }), s("circle", { class: "member", cx: 12, cy: 9, r: 3.5 })],
    dominated: () => s("path", { class: "dominated", d: dot(12, 9) }),
    stopped: () => s("path", { class: "stopped", d: triangle(12, 8) }),
    over: () => s("path", { class: "over", d: stroke(12, 4) }),
    budget: () => s("path", { class: "budget", d: "M12 1V17" }),
    interval: () => s("path", { class: "whisker", d: "M3 9H21M3 6v6M21 6v6" }),
  }[kind];
  return s("svg", { class: "symbol", width: 24, height: 18, "aria-hidden": "true" }, shape());
}

function choice(name, key) {
  const options = FIGURES.map((f) => h("option", { value: f.name, selected: VIEW[key] === f.name }, f.label));
  return h("label", null, name, h("select", { id: `front-${key}`, onchange: (e) => { VIEW[key] = e.target.value; drawFront(); } }, options));
}

function tick(name, id, checked, tell) {
  return h("label", { class: "tick-box" }, h("input", { type: "checkbox", id, checked, onchange: (e) => tell(e.target.checked) }), name);
}

function frontControls() {
  byId("front-controls").replaceChildren(
    choice("up", "y"), choice("across", "x"),
    tick("log up", "front-log-y", VIEW.logY, (on) => { VIEW.logY = on; drawFront(); }),
    tick("log across", "front-log-x", VIEW.logX, (on) => { VIEW.logX = on; drawFront(); }),
    tick("whole range", "front-whole", VIEW.whole, (on) => { VIEW.whole = on; drawFront(); }));
  const count = (kind) => TRIALS.filter((t) => role(t) === kind).length;
  const entry = (kind, text) => h("li", null, symbol(kind), text);
  byId("front-legend").replaceChildren(
    ...[MEMBERS.length && entry("front", `${MEMBERS.length} on the front; the stairs are the best reached so far across`),
      DATA.knee !== null && MEMBERS.length > 1 && entry("knee", `the knee, trial ${DATA.knee}`),
      ...KINDS.filter(([kind]) => count(kind)).map(([kind, text]) => h("li", null, h("label", { class: "tick-box" },
        h("input", { type: "checkbox", id: `show-${kind}`, checked: STATE.shown[kind], onchange: (e) => { STATE.shown[kind] = e.target.checked; changed(); } }),
        symbol(kind), `${count(kind)} ${text}`))),
      DATA.budgets.length && entry("budget", "a budget"),
      MEMBERS.some((t) => FIGURES.some((f) => t.interval(f.name))) && entry("interval", "95 % interval of a latency")].filter(Boolean));
}

/** The best trained trials over one figure, from its good end to its bad one. */
function stairs(x, y) {
  const better = (a, b, meta) => (meta.up ? a > b : a < b);
  const order = TRIALS.filter((t) => t.state === "complete" && t.value(x) !== null && t.value(y) !== null)
    .sort((a, b) => (META[x].up ? b.value(x) - a.value(x) : a.value(x) - b.value(x)) || (META[y].up ? b.value(y) - a.value(y) : a.value(y) - b.value(y)));
  const found = [];
  for (const t of order) if (!found.length || better(t.value(y), found[found.length - 1].value(y), META[y])) found.push(t);
  return found;
}

/** The values along an axis that are to be seen: all, or those of the front and some more on its bad side: of what only
 * training tells half as much again, of a price up to four times as much. */
function extent(name, way, trials) {
  const all = known(trials, name), front = known(MEMBERS, name), meta = META[name];
  if (!all.length) return [0, 1];
  let low = Math.min(...all), high = Math.max(...all);
  if (!VIEW.whole && front.length) {
    const [there, back] = WAYS[way], a = there(Math.min(...front)), b = there(Math.max(...front));
    let more = 0.5 * (b - a) + 0.1 * (way === "linear" ? Math.abs(a) || 1 : 1);
    if (meta.cheap) more = way === "log" ? Math.log10(4) : 3 * Math.abs(b);
    if (meta.up) low = Math.max(low, back(a - more));
    else high = Math.min(high, back(b + more));
  }
  return [low, high];
}

let frontWidth = 0;

function drawFront(width = frontWidth) {
  if (!(frontWidth = width)) return;
  const { x: nameX, y: nameY } = VIEW, host = byId("front-chart");
  if (!FIGURES.length) return host.replaceChildren(h("p", { class: "quiet" }, "No trial was priced, so there is nothing to draw."));
  const height = Math.max(300, Math.min(460, width * 0.62)), narrow = width < 520;
  const [left, top, right, bottom] = [narrow ? 46 : 58, 34, width - 14, height - 46];
  const shown = TRIALS.filter((t) => t.front || STATE.shown[role(t)]);
  const both = shown.filter((t) => t.value(nameX) !== null && t.value(nameY) !== null);
  const rejected = STATE.shown.over ? TRIALS.filter((t) => role(t) === "over" && t.value(nameY) === null && t.value(nameX) !== null && !STATE.filters.size) : [];
  const wayX = wayOf(META[nameX], VIEW.logX, known(shown, nameX)), wayY = wayOf(META[nameY], VIEW.logY, known(shown, nameY));
  const [lowY, highY] = withBudgets(nameY, extent(nameY, wayY, both)), y = scale(wayY, lowY, highY, bottom, top);
  const high = both.filter((t) => t.front || (y(t.value(nameY)) <= bottom && y(t.value(nameY)) >= top)); // what can be seen at all
  const [lowX, highX] = withRejected(nameX, withBudgets(nameX, extent(nameX, wayX, high)), rejected), x = scale(wayX, lowX, highX, left, right);
  const inside = ([px, py]) => px >= left - 1 && px <= right + 1 && py >= top - 1 && py <= bottom + 1;
  const place = (t) => [x(t.value(nameX)), y(t.value(nameY))];

  const hits = [], groups = { dominated: [], stopped: [], over: [] };
  for (const t of both) {
    const at = place(t);
    if (!inside(at) || !passes(t)) continue;
    hits.push([t, ...at]);
    if (groups[role(t)]) groups[role(t)].push(at);
  }
  for (const t of rejected) {
    const at = [x(t.value(nameX)), bottom - 10];
    if (!inside(at)) continue;
    groups.over.push(at);
    hits.push([t, at[0], at[1] + 4]);
  }
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label":
    `${META[nameY].label} over ${META[nameX].label}: ${many(MEMBERS.length, "network")} on the front. Arrow keys go from one to the next.` },
    axes(x, y, META[nameX], META[nameY], [left, top, right, bottom], wayX, wayY),
    budgetLines(x, y, nameX, nameY, [left, top, right, bottom]),
    marks("dominated", groups.dominated, dot), marks("stopped", groups.stopped, triangle), marks("over", groups.over, stroke),
    nameX !== nameY && stairPath(stairs(nameX, nameY), x, y, META[nameX].up ? left : right, [left, top, right, bottom]),
    s("circle", { class: "pointed", r: 9, visibility: "hidden" }),
    members(place, inside, x, y, nameX, nameY));
  point(svg, hits);
  host.replaceChildren(svg);
  const out = both.filter((t) => passes(t) && !inside(place(t))).length + rejected.filter((t) => !inside([x(t.value(nameX)), bottom])).length;
  frontNote(out, new Map([[nameX, x], [nameY, y]]));
}

/** An extent with the limits that are near enough to be drawn: within twelve times of what the front has. */
function withBudgets(name, [low, high]) {
  const front = known(MEMBERS.length ? MEMBERS : TRIALS, name);
  for (const { name: limited, limit } of DATA.budgets) {
    if (limited === name && (VIEW.whole || (limit > Math.min(...front) / 12 && limit < Math.max(...front) * 12))) [low, high] = [Math.min(low, limit), Math.max(high, limit)];
  }
  return [low, high];
}

/** An extent with what was rejected beyond a limit: all of it, or up to half as much again. */
function withRejected(name, [low, high], rejected) {
  const values = known(rejected, name);
  if (!values.length) return [low, high];
  if (VIEW.whole) return [Math.min(low, ...values), Math.max(high, ...values)];
  return [Math.max(Math.min(low, ...values), low / 1.5), Math.min(Math.max(high, ...values), high * 1.5)];
}

function budgetLines(x, y, nameX, nameY, [left, top, right, bottom]) {
  return DATA.budgets.flatMap(({ name, limit, text }) => {
    if (name === nameX && x(limit) >= left && x(limit) <= right) {
      const near = x(limit) > right - 90;
      return [s("path", { class: "budget", d: `M${x(limit)} ${top}V${bottom}` }),
        s("text", { class: `limit${near ? " end" : ""}`, x: x(limit) + (near ? -5 : 5), y: bottom - 16 }, text)];
    }
    if (name === nameY && y(limit) >= top && y(limit) <= bottom)
      return [s("path", { class: "budget", d: `M${left} ${y(limit)}H${right}` }), s("text", { class: "limit end", x: right - 4, y: y(limit) - 5 }, text)];
    return [];
  });
}

function stairPath(found, x, y, edge, [left, top, right, bottom]) {
  if (!found.length) return null;
  const held = (v, low, high) => Math.min(Math.max(v, low), high).toFixed(1);
  const at = found.map((t) => [held(x(t.value(VIEW.x)), left, right), held(y(t.value(VIEW.y)), top, bottom)]);
  return s("path", { class: "stairs", d: `M${at[0][0]} ${bottom}V${at[0][1]}` + at.slice(1).map(([px, py]) => `H${px}V${py}`).join("") + `H${edge}` });
}

/** The members of the front as marks that can be reached with the keyboard, in the order across. */
function members(place, inside, x, y, nameX, nameY) {
  const there = MEMBERS.filter((t) => t.value(nameX) !== null && t.value(nameY) !== null && inside(place(t)))
    .sort((a, b) => a.value(nameX) - b.value(nameX));
  const nodes = [], named = namesApart(there, place);
  const first = there.find((t) => t.number === STATE.selected) || there[0];
  for (const trial of there) {
    const [px, py] = place(trial);
    const ix = trial.interval(nameX), iy = trial.interval(nameY);
    const classes = ["point", !passes(trial) && "faded", trial.number === STATE.selected && "selected"].filter(Boolean).join(" ");
    nodes.push(s("g", { class: classes, tabindex: trial === first ? 0 : -1, role: "button", "data-trial": trial.number,
      "aria-label": `Trial ${trial.number}, ${whatIs(trial)}: ${OBJECTIVE_NAMES.map((n) => `${META[n].head} ${told(trial, n)}`).join(", ")}. ${trial.words}. ${doubt(trial)}`,
      onfocus: (e) => { const box = e.target.getBoundingClientRect(); showTip(trial, box.right, box.top); },
      onblur: hideTip,
      onkeydown: (e) => {
        const way = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[e.key];
        if (way && nodes[there.indexOf(trial) + way]) {
          e.preventDefault();
          nodes.forEach((node) => node.setAttribute("tabindex", -1));
          nodes[there.indexOf(trial) + way].setAttribute("tabindex", 0);
          nodes[there.indexOf(trial) + way].focus();
        }
        if (e.key === "Enter" || e.key === " ") { e.preventDefault(); openMember(trial.number); }
      } },
      ix && s("path", { class: "whisker", d: `M${x(ix[0])} ${py}H${x(ix[1])}M${x(ix[0])} ${py - 3}v6M${x(ix[1])} ${py - 3}v6` }),
      iy && s("path", { class: "whisker", d: `M${px} ${y(iy[0])}V${y(iy[1])}M${px - 3} ${y(iy[0])}h6M${px - 3} ${y(iy[1])}h6` }),
      trial.knee && s("circle", { class: "ring", cx: px, cy: py, r: 10 }),
      s("circle", { class: "member", cx: px, cy: py, r: 5.5 }),
      named.has(trial) && s("text", { class: "number end", x: px - 8, y: py - 7 }, named.get(trial))));
  }
  return s("g", null, nodes);
}

/** What is written at members: their numbers, the knee's first, as far as they do not lie on one another. */
function namesApart(there, place) {
  const found = new Map(), taken = [];
  for (const trial of there.slice().sort((a, b) => b.knee - a.knee)) {
    const [px, py] = place(trial), text = trial.knee ? `${trial.number} knee` : `${trial.number}`, left = px - 8 - 7 * text.length;
    const free = taken.every(([l, r, y]) => r < left - 3 || l > px - 5 || Math.abs(y - py) > 13);
    if (free) {
      found.set(trial, text);
      taken.push([left, px - 5, py]);
    }
  }
  return found;
}

/** Show what lies nearest to the pointer. */
function point(svg, hits) {
  const ring = svg.querySelector(".pointed");
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    let best = null, least = event.pointerType === "touch" ? 28 : 18;
    for (const hit of hits) {
      const far = Math.hypot(hit[1] - px, hit[2] - py) * (hit[0].front ? 0.6 : 1);
      if (far < least) [best, least] = [hit, far];
    }
    return best;
  };
  const show = (event) => {
    const hit = nearest(event);
    if (!hit) return leave();
    ring.setAttribute("cx", hit[1]);
    ring.setAttribute("cy", hit[2]);
    ring.setAttribute("visibility", "visible");
    showTip(hit[0], event.clientX, event.clientY);
  };
  const leave = () => {
    ring.setAttribute("visibility", "hidden");
    hideTip();
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && leave());
  svg.addEventListener("click", (event) => {
    const hit = nearest(event);
    if (hit && hit[0].front && event.pointerType !== "touch") openMember(hit[0].number);
  });
}

document.addEventListener("pointerdown", (event) => event.target.closest("#front-chart, #tooltip") || hideTip());

function frontNote(out, drawn) {
  const notes = [];
  if (!MEMBERS.length) notes.push("No trial was trained to the end, so there is no front.");
  if (out) notes.push(`Outside of what is drawn: ${many(out, "more trial")}; “whole range” shows all.`);
  if (OBJECTIVE_NAMES.length > 2) notes.push(`The front is that of ${OBJECTIVE_NAMES.length} objectives: members off the stairs are better in another one.`);
  for (const { name, limit, text } of DATA.budgets) {
    const at = drawn.get(name);
    if (at && (limit < at.low || limit > at.high)) notes.push(`The budget ${text} lies outside.`);
  }
  const pairs = MEMBERS.filter((t) => alike(t).length).length;
  if (pairs) notes.push(`Latency intervals of ${pairs} members overlap with another's; which of those is faster is not known.`);
  byId("front-note").textContent = notes.join(" ");
}
