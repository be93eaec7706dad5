// Elements and the text in them. Text from rows only ever becomes text: nothing here reads HTML.

const byId = (id) => document.getElementById(id);

// An element with attributes, listeners (`onclick`: a function) and children; what is null or false is left out.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const PARTS = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

// A number as the tables show it, counts without decimals; "–" for what is not known.
function shown(value, whole = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return typeof value === "number" ? (whole ? WHOLE : PARTS).format(value) : String(value);
}

// What is counted has no decimals.
const isCount = (column) => ["parameters", "MACs", "epochs"].includes(column);
const withHalf = (column, value, half) =>
  shown(value, isCount(column)) + (half > 0 && !isCount(column) ? ` ± ${shown(half)}` : "");
// A value of a line with its interval: that of a measured ratio is not symmetric.
function withInterval(column, line) {
  const [low, high] = line.ranges?.[column] ?? [];
  if (low < high) return `${shown(line.values[column])} (${shown(low)}–${shown(high)})`;
  return withHalf(column, line.values[column], line.half_widths?.[column]);
}

const count = (number, one, many = `${one}s`) => `${WHOLE.format(number)} ${number === 1 ? one : many}`;

// A rank, or what a layer became instead: "4", "15·20·11", "int8", "dense".
const rankOf = (layer) => layer.form ?? (layer.rank === null ? "dense" : [layer.rank].flat().join("·"));

// The mark of a method beside its name, as it is drawn in the figures.
function swatch(method) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-6 -6 12 12");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", OUTLINES[shapeOf(method)]);
  path.setAttribute("fill", colourOf(method));
  svg.append(path);
  return svg;
}

const option = (value, text) => element("option", { value }, text);

const quiet = (...inside) => element("span", { class: "quiet" }, inside);
const note = (...inside) => element("p", { class: "quiet" }, inside);
const section = (title, ...inside) => element("div", {}, element("h3", {}, title), inside);
const button = (text, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, text);

// A table of cells that are ready: the heads in one line, then the lines.
const row = (...cells) => element("tr", {}, cells);
const table = (heads, lines) => element("table", {}, element("thead", {}, row(heads)), element("tbody", {}, lines));

// A table of texts: the first column is a name, the others are numbers, the last perhaps a text.
function grid(heads, lines, { lastIsText = false } = {}) {
  const kind = (index) => (index === 0 ? null : lastIsText && index === heads.length - 1 ? "text" : "number");
  const head = (text, index) => element("th", { class: kind(index), scope: "col" }, text);
  const cell = (text, index) => element(index ? "td" : "th", { class: kind(index), scope: index ? null : "row" }, text);
  return element(
    "div",
    { class: "scroll" },
    table(
      heads.map(head),
      lines.map((line) => row(line.map(cell))),
    ),
  );
}
