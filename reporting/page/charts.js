// How figures are drawn, and what their specifications share: Vega-Lite, in the colours of the page.

const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look() {
  const [ink, quiet, rule] = ["--ink", "--quiet", "--rule"].map(styled);
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: quiet,
      titleColor: quiet,
      titleFontWeight: "normal",
      domainColor: rule,
      tickColor: rule,
      gridColor: rule,
      gridOpacity: 0.6,
      labelFontSize: 11,
      titleFontSize: 12,
      labelFlush: true,
    },
    legend: { labelColor: quiet, titleColor: quiet, titleFontWeight: "normal", labelLimit: 90 },
    text: { fill: quiet, fontSize: 11 },
    rule: { color: quiet },
    line: { color: ink },
  };
}

// Draw into `place` and return the view; `opened` gets the datum of a mark that is clicked.
async function draw(place, spec, label, opened = null) {
  const layers = spec.layer?.filter((layer) => layer.data.values.length); // an empty one has no extent, and says so
  if (layers && !layers.length) return void place.append("–");
  const whole = {
    width: "container",
    height: 300,
    autosize: { type: "fit-x", contains: "padding" },
    description: label,
    ...spec,
    ...(layers && { layer: layers }),
  };
  const actions = { export: true, source: false, compiled: false, editor: false };
  try {
    const { view } = await vegaEmbed(place, whole, {
      renderer: "svg",
      actions,
      config: look(),
      downloadFileName: "figure",
    });
    place.querySelector("summary")?.setAttribute("aria-label", `Save the figure: ${label}`);
    if (opened) view.addEventListener("click", (event, item) => item?.datum && opened(item.datum));
    return view;
  } catch (error) {
    place.textContent = `This figure cannot be drawn: ${error.message}`;
  }
}

const log = (field, title, scale = {}) => ({
  field,
  type: "quantitative",
  title,
  scale: { type: "log", nice: false, padding: 12, ...scale },
  axis: { format: "~g", tickCount: 6 },
});
// Every datum brings the colour and the shape of its method, so they are the same everywhere.
const OWN_COLOUR = { field: "colour", type: "nominal", scale: null };
const OWN_SHAPE = { field: "shape", type: "nominal", scale: null };
// A mean of one seed is pale: it has no interval.
const OF_ONE_SEED = { condition: { test: "datum.runs === 1", value: 0.35 }, value: 1 };
const tips = (...names) => names.map((name) => ({ field: name, type: "nominal" }));

const positive = (...values) => values.every((value) => Number.isFinite(value) && value > 0);
const looks = (method) => ({ method: marked(method), colour: colourOf(method), shape: shapeOf(method) });

// The marks of our variants: filled, and a click opens one.
const ownMarks = (points, x, y, ...told) => ({
  data: { values: points },
  mark: { type: "point", filled: true, size: 65, cursor: "pointer" },
  encoding: { x, y, color: OWN_COLOUR, shape: OWN_SHAPE, opacity: OF_ONE_SEED, tooltip: tips(...told) },
});

// A dotted line across, and its name.
function level(value, text, y) {
  const data = { values: [{ y: value }] };
  return [
    { data, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { y } },
    { data, mark: { type: "text", align: "right", dy: 9, text }, encoding: { y, x: { value: "width" } } },
  ];
}
