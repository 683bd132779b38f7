"use strict";
// Elements and numbers. Texts become text nodes, never HTML.

const SVG = "http://www.w3.org/2000/svg";

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

/** Redraw `draw(width)` whenever the width of `node` changes. */
function onWidth(node, draw) {
  let before = 0;
  const look = () => {
    const width = Math.round(node.clientWidth);
    if (width && width !== before) draw((before = width));
  };
  new ResizeObserver(look).observe(node);
  look();
}

const digits = (value, n) => Number(value.toPrecision(n)).toString();

function scaled(value, units) {
  for (const [size, unit] of units) if (Math.abs(value) >= 0.9995 * size) return digits(value / size, 3) + unit;
  return digits(value, 3) + units[units.length - 1][1].replace(/k/, "");
}

const COUNT = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
const BYTES = [[1e9, " GB"], [1e6, " MB"], [1e3, " kB"]];

/** A figure as one reads it; `kind` is share, loss, value, ms, bytes or count. */
function figure(kind, value, unit = true) {
  if (value === null || value === undefined) return "–";
  if (kind === "share" || kind === "loss") return value.toFixed(4);
  if (kind === "value") return digits(value, 4);
  if (kind === "ms") return (value < 100 ? digits(value, 3) : value.toFixed(0)) + (unit ? " ms" : "");
  return scaled(value, kind === "bytes" ? BYTES : COUNT);
}

const seconds = (value) => (value < 90 ? `${digits(value, 2)} s` : value < 5400 ? `${digits(value / 60, 2)} min` : `${digits(value / 3600, 2)} h`);
const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
