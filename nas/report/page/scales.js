// From values to pixels, and where the ticks are.

const FLOOR = 1e-4; // an error of 0 has no logarithm
const WAYS = {
  linear: [(v) => v, (v) => v],
  log: [(v) => Math.log10(Math.max(v, 1e-12)), (t) => 10 ** t],
  error: [(v) => -Math.log10(Math.max(1 - v, 0) + FLOOR), (t) => 1 + FLOOR - 10 ** -t],
};

/** Which way an axis of this figure is drawn: prices by their logarithm, an accuracy by that of its error. */
function wayOf(meta, logarithmic, values) {
  if (!logarithmic) return "linear";
  if (meta.kind === "share") return "error";
  return values.every((v) => v > 0) ? "log" : "linear";
}

/** A scale from the values [low, high] to the pixels [from, to], with a margin (a share of it) on both sides. */
function scale(way, low, high, from, to, margin = 0.05) {
  const [there, back] = WAYS[way];
  let a = there(low), b = there(high);
  if (b - a < 1e-12) [a, b] = way === "linear" ? [a - (Math.abs(a) || 1) * 0.1, b + (Math.abs(b) || 1) * 0.1] : [a - 0.1, b + 0.1];
  const more = (b - a) * margin;
  a -= more;
  b += more;
  const at = (v) => from + ((there(v) - a) / (b - a)) * (to - from);
  at.invert = (pixel) => back(a + ((pixel - from) / (to - from)) * (b - a));
  at.low = back(a);
  at.high = back(b);
  at.ticks = (n) => thin(TICKS[way](at.low, at.high, n), n);
  return at;
}

const TICKS = {
  linear(low, high, n) {
    const rough = (high - low) / Math.max(n, 1), size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-12); i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  },
  log(low, high, n) {
    const decades = Math.log10(high / low);
    const heads = decades > 3 ? [1] : decades > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const k of heads) found.push(Number((k * 10 ** e).toPrecision(6)));
    const inside = found.filter((v) => v >= low && v <= high);
    return inside.length > 1 ? inside : TICKS.linear(low, high, n);
  },
  error(low, high, n) {
    const found = [0];
    for (let e = 1; e <= 3; e++) for (const k of [9, 8, 7, 6, 5, 4, 3, 2, 1.5, 1]) found.push(Number((1 - k * 10 ** -e).toPrecision(6)));
    found.push(1);
    const inside = [...new Set(found)].sort((a, b) => a - b).filter((v) => v >= low && v <= high);
    return inside.length > 2 ? inside : TICKS.linear(low, Math.min(high, 1), n);
  },
};

function thin(ticks, n) {
  while (ticks.length > Math.max(n, 2)) ticks = ticks.filter((_, i) => i % 2 === 0);
  return ticks;
}

/** How a tick is written: as short as it can be told from its neighbours. */
function tickText(kind, value) {
  if (kind === "share" || kind === "loss" || kind === "value") return digits(value, 4);
  if (kind === "ms") return digits(value, 3);
  return scaled(value, kind === "bytes" ? BYTES : COUNT);
}
