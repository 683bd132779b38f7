// The table of the front, and each network block by block.

const SORT = { name: null, down: false };
const OPEN = new Set();

function drawMembers() {
  const host = byId("members-table");
  if (!MEMBERS.length) return host.replaceChildren(h("p", { class: "quiet" }, "No trial was trained to the end, so there is no front."));
  const columns = [{ name: "number", head: "trial" }, ...FIGURES];
  const rows = sorted(MEMBERS.filter(passes)).flatMap((trial) => {
    const open = OPEN.has(trial.number), id = `blocks-${trial.number}`;
    const classes = [trial.knee && "knee", trial.number === STATE.selected && "selected"].filter(Boolean).join(" ");
    return [
      h("tr", { class: classes, id: `member-${trial.number}` },
        h("th", { scope: "row", "data-label": "trial", class: "figure" }, trial.number, trial.knee && h("span", { class: "badge" }, "knee")),
        FIGURES.map((f) => h("td", { class: "figure", "data-label": f.head }, cell(trial, f))),
        h("td", { "data-label": "network", class: "network" }, h("span", { class: "words" }, trial.words),
          h("button", { type: "button", class: "open", "aria-expanded": String(open), "aria-controls": id,
            onclick: () => toggle(trial.number) }, open ? "hide blocks" : "show blocks"))),
      h("tr", { class: "detail", id, hidden: !open }, h("td", { colspan: columns.length + 1 }, detail(trial))),
    ];
  });
  const heads = columns.map((c) => h("th", { scope: "col", class: "figure", "aria-sort": SORT.name === c.name ? (SORT.down ? "descending" : "ascending") : "none" },
    h("button", { type: "button", onclick: () => sortBy(c.name) }, c.head, h("span", { "aria-hidden": "true" }, SORT.name === c.name ? (SORT.down ? " ↓" : " ↑") : ""))));
  const kept = document.activeElement && document.activeElement.closest("#members-table") ? focusPath(document.activeElement) : null;
  host.replaceChildren(h("table", { class: "cards members" },
    h("caption", null, `${rows.length / 2 === MEMBERS.length ? "" : `${rows.length / 2} of `}${many(MEMBERS.length, "network")} that no other trial dominates; ${DATA.latencies} with their 95 % intervals`),
    h("thead", null, h("tr", null, heads, h("th", { scope: "col" }, "network"))), h("tbody", null, rows)));
  if (kept) (host.querySelector(kept) || host.querySelector("button")).focus();
}

/** Where the focus is, so that it is there again when the table was drawn anew. */
function focusPath(node) {
  const row = node.closest("tbody tr");
  if (row) return `#${row.id} button`;
  const at = [...node.closest("tr").children].indexOf(node.closest("th"));
  return `thead th:nth-child(${at + 1}) button`;
}

function cell(trial, meta) {
  const between = trial.interval(meta.name), same = between && alike(trial).length;
  return [figure(meta.kind, trial.value(meta.name)), same ? h("abbr", { title: doubt(trial) }, " ~") : null,
    between && h("small", null, ` [${figure(meta.kind, between[0], false)}, ${figure(meta.kind, between[1], false)}]`)];
}

function sorted(trials) {
  if (!SORT.name) return trials.slice().sort((a, b) => order(a, b));
  const value = (t) => (SORT.name === "number" ? t.number : t.value(SORT.name)) ?? Infinity;
  return trials.slice().sort((a, b) => (SORT.down ? value(b) - value(a) : value(a) - value(b)) || a.number - b.number);
}

const order = (a, b) => (FIGURES.length ? a.value(VIEW.x) - b.value(VIEW.x) : 0) || a.number - b.number;

function sortBy(name) {
  const better = name !== "number" && META[name].up;
  SORT.down = SORT.name === name ? !SORT.down : better;
  SORT.name = name;
  drawMembers();
}

function toggle(number) {
  if (!OPEN.delete(number)) OPEN.add(number);
  STATE.selected = number;
  changed();
}

function openMember(number) {
  OPEN.add(number);
  select(number);
  const row = byId(`member-${number}`);
  if (row) {
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    row.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "center" });
    row.querySelector("button.open").focus({ preventScroll: true });
  }
}

const shape = (sizes) => sizes.join(" × ");

/** What a network is made of, and how it was trained. */
function detail(trial) {
  const member = DATA.members[trial.number], total = { macs: 0, params: 0 };
  for (const b of member.blocks) for (const key of ["macs", "params"]) total[key] += b[key] || 0;
  const boxes = member.blocks.map((b) => h("li", { class: "block" }, block(b, total)));
  if (member.built && member.blocks.length) {
    boxes.unshift(h("li", { class: "block end" }, h("strong", null, "input"), h("span", { class: "shape" }, shape(member.blocks[0].in))));
    boxes.push(h("li", { class: "block end" }, h("strong", null, "output"), h("span", { class: "shape" }, shape(member.blocks[member.blocks.length - 1].out))));
  }
  return [
    h("ol", { class: "blocks", "aria-label": `blocks of trial ${trial.number}` }, boxes),
    member.built
      ? h("p", { class: "quiet" }, "Shapes are without the batch axis. Bars: a block's share of all multiply-adds (upper) and of all parameters (lower).")
      : h("p", { class: "quiet" }, "Shapes, multiply-adds and parameters of each block were not kept by the version that made this run."),
    h("div", { class: "beside" }, trainingOf(member), curve(trial, 300, 110)),
  ];
}

function block(b, total) {
  const fields = Object.entries(b.fields).filter(([, value]) => value !== null && typeof value !== "object").map(([name, value]) => `${name} ${number(value)}`);
  const found = [h("strong", null, b.name), h("span", { class: "path" }, b.path)];
  if (fields.length) found.push(h("span", { class: "fields" }, fields.join(", ")));
  if (b.out) found.push(h("span", { class: "shape" }, `${shape(b.in)} → ${shape(b.out)}`));
  if (b.out && (b.macs !== 0 || b.params !== 0)) { // what only changes the layout costs nothing
    found.push(h("span", { class: "cost" }, `${b.macs === null ? "? " : figure("count", b.macs)} MACs · ${figure("count", b.params)} params`));
    found.push(share(b.macs, total.macs, "macs"), share(b.params, total.params, "params"));
  }
  return found;
}

const share = (part, all, kind) => s("svg", { class: "meter", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
  s("rect", { class: "ground", width: 100, height: 10 }), s("rect", { class: `bar ${kind}`, width: all ? (100 * (part || 0)) / all : 0, height: 10 }));

function trainingOf(member) {
  if (!member.training.length) return null;
  const said = member.training.map(([path, value]) => {
    const name = path.replace(/^training\./, ""), plain = Array.isArray(value) ? value.map(number).join(", ") : number(value);
    return h("span", null, name, plain === "" ? null : [" ", h("b", null, plain)]);
  });
  return h("p", { class: "training" }, h("span", { class: "quiet" }, "trained with"), said);
}

/** A chosen value as text: a number with as many digits as are read. */
const number = (value) => (typeof value === "number" ? digits(value, 4) : String(value));
