// The figures: Vega-Lite specifications, drawn by Vega-Embed.

const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look() {
  const [ink, quiet, rule] = ["--ink", "--quiet", "--rule"].map(styled);
  return {
    background: null, font: "system-ui, sans-serif", view: { stroke: null },
    axis: {
      labelColor: quiet, titleColor: quiet, titleFontWeight: "normal", domainColor: rule, tickColor: rule, gridColor: rule,
      gridOpacity: 0.6, labelFontSize: 11, titleFontSize: 12, labelFlush: true,
    },
    legend: { labelColor: quiet, titleColor: quiet, titleFontWeight: "normal", labelLimit: 90 },
    text: { fill: quiet, fontSize: 11 }, rule: { color: quiet }, line: { color: ink },
  };
}

// Draw into `place` and return the view; `opened` gets the datum of a mark that is clicked.
async function draw(place, spec, label, opened = null) {
  const layers = spec.layer?.filter((layer) => layer.data.values.length); // an empty one has no extent, and says so
  if (layers && !layers.length) return void place.append("–");
  const whole = { width: "container", height: 300, autosize: { type: "fit-x", contains: "padding" }, description: label, ...spec, ...(layers && { layer: layers }) };
  const actions = { export: true, source: false, compiled: false, editor: false };
  try {
    const { view } = await vegaEmbed(place, whole, { renderer: "svg", actions, config: look(), downloadFileName: "figure" });
    place.querySelector("summary")?.setAttribute("aria-label", `Save the figure: ${label}`);
    if (opened) view.addEventListener("click", (event, item) => item?.datum && opened(item.datum));
    return view;
  } catch (error) {
    place.textContent = `This figure cannot be drawn: ${error.message}`;
  }
}

const log = (field, title, extra = {}) => ({ field, type: "quantitative", title, scale: { type: "log", nice: false, padding: 12 }, axis: { format: "~g", tickCount: 6 }, ...extra });
const OWN_COLOUR = { field: "colour", type: "nominal", scale: null };
const OWN_SHAPE = { field: "shape", type: "nominal", scale: null };
const tips = (...names) => names.map((name) => ({ field: name.replaceAll(/[.[\]]/g, ""), title: name, type: "nominal" }));

const positive = (...values) => values.every((value) => Number.isFinite(value) && value > 0);
const looks = (method) => ({ method: marked(method), colour: colourOf(method), shape: shapeOf(method) });

// From the smallest network to the largest: what no other beats in both.
function paretoFront(points) {
  let best = Infinity;
  const front = [...points].sort((p, q) => q.x - p.x || p.y - q.y).filter((point) => point.y < best && ((best = point.y), true));
  return front.reverse();
}

function accuracySpec(variants, reported) {
  const points = variants.filter((v) => positive(v.values[state.ratio], v.values[ERROR])).map((v) => {
    const [x, y, half] = [v.values[state.ratio], v.values[ERROR], v.half_widths[ERROR] ?? 0];
    return { x, y, low: Math.max(y - half, y / 2), high: y + half, variant: v.index, setting: v.setting, ...looks(v.method),
      error: `${shown(y)}${half ? ` ± ${shown(half)}` : ""} %`, compression: `${shown(x)}×`, runs: v.ok.length };
  });
  const seeds = variants.flatMap((v) => v.ok.map((run) => ({ x: run.values[state.ratio], y: run.values[ERROR], ...looks(v.method) }))).filter((p) => positive(p.x, p.y));
  const theirs = reported.filter((row) => positive(row[ERROR], row[state.ratio])).map((row) => ({ x: row[state.ratio], y: row[ERROR], ...looks(row.method), row: row.name, source: row.source, place: row.place, error: `${shown(row[ERROR])} %`, compression: `${shown(row[state.ratio])}×` }));
  const unsized = reported.filter((row) => positive(row[ERROR]) && !positive(row[state.ratio])).map((row) => ({ y: row[ERROR], ...looks(row.method), row: row.name, source: row.source, place: row.place, error: `${shown(row[ERROR])} %`, compression: "not reported" }));
  const reference = referenceError(variants.flatMap((v) => v.ok));
  // What failed to learn would press the rest together: it stands on the upper edge.
  const above = Math.max(...points.concat(theirs).map((p) => p.y)), edge = Math.min(above * 1.1, 5 * (reference ?? above));
  const clamped = { clamp: true, domainMax: edge };
  const x = log("x", `${state.ratio}, uncompressed over compressed (log)`), y = log("y", "test error [%] (log)", { scale: { type: "log", nice: false, padding: 12, ...clamped } });
  const of_ours = tips("method", "setting", "error", "compression", "runs"), of_theirs = tips("row", "method", "error", "compression", "source", "place");
  return { layer: [
    ...(reference ? [{ data: { values: [{ y: reference }] }, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { y } },
      { data: { values: [{ y: reference }] }, mark: { type: "text", align: "right", dy: 9, text: "uncompressed" }, encoding: { y, x: { value: "width" } } }] : []),
    { data: { values: unsized }, mark: { type: "rule", strokeDash: [6, 4], strokeWidth: 1.5 }, encoding: { y, color: OWN_COLOUR, tooltip: of_theirs } },
    { data: { values: paretoFront(points) }, mark: { type: "line", interpolate: "step-before", strokeWidth: 1, opacity: 0.7 }, encoding: { x, y } },
    { data: { values: seeds }, mark: { type: "circle", size: 12, opacity: 0.45 }, encoding: { x, y, color: OWN_COLOUR } },
    { data: { values: points }, mark: { type: "rule", opacity: 0.6 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: OWN_COLOUR } },
    { data: { values: points }, mark: { type: "point", filled: true, size: 65, opacity: 1, cursor: "pointer" }, encoding: { x, y, color: OWN_COLOUR, shape: OWN_SHAPE, tooltip: of_ours } },
    { data: { values: theirs }, mark: { type: "point", filled: false, size: 110, strokeWidth: 1.8, opacity: 1 }, encoding: { x, y, color: OWN_COLOUR, shape: OWN_SHAPE, tooltip: of_theirs } },
  ] };
}

// Counted against measured: on the diagonal the time falls as the multiply-adds do.
function promiseSpec(variants) {
  const points = variants.filter((v) => positive(v.values["MACs ratio"], v.values[state.batch])).map((v) => {
    const [x, y] = [v.values["MACs ratio"], v.values[state.batch]];
    return { x, y, variant: v.index, setting: v.setting, ...looks(v.method), counted: `${shown(x)}× fewer MACs`,
      measured: y >= 1 ? `${shown(y)}× faster` : `${shown(1 / y)}× slower`, kept: `${shown((100 * y) / x)} %` };
  });
  const most = Math.max(1.5, ...points.map((point) => point.x)), fastest = Math.max(1, ...points.map((point) => point.y));
  const start = Math.min(1, ...points.map((point) => point.x)), end = Math.min(most, fastest * 1.3);
  const x = log("x", "MACs ratio, counted (log)"), y = log("y", `${state.batch}, measured (log)`);
  return { layer: [
    { data: { values: [{ x: start, y: start }, { x: end, y: end }] }, mark: { type: "line", strokeDash: [4, 3], strokeWidth: 1 }, encoding: { x, y } },
    { data: { values: [{ x: end, y: end }] }, mark: { type: "text", align: "right", dx: -8, text: "as counted" }, encoding: { x, y } },
    { data: { values: [{ y: 1 }] }, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { y } },
    { data: { values: [{ y: 1 }] }, mark: { type: "text", align: "right", dy: 9, text: "no faster" }, encoding: { y, x: { value: "width" } } },
    { data: { values: points }, mark: { type: "point", filled: true, size: 65, opacity: 1, cursor: "pointer" },
      encoding: { x, y, color: OWN_COLOUR, shape: OWN_SHAPE, tooltip: tips("method", "setting", "counted", "measured", "kept") } },
  ] };
}

// One value of every step, a line a run.
function stepsSpec(runs, field, title, scale = "linear") {
  const known = scale === "log" ? (value) => positive(value) : Number.isFinite;
  const values = runs.flatMap((run) => (run.history[field] ?? []).map((value, index) => ({
    step: run.history.step[index], value, run: run.id, seed: run.seed, setting: data.variants[run.variant].setting,
    ...looks(run.choices.method), [title]: shown(value) }))).filter((point) => known(point.value));
  const y = { field: "value", type: "quantitative", title, scale: { type: scale, ...(scale === "linear" && { zero: false }) }, axis: { tickCount: 5, ...(scale === "log" && { format: "~g" }) } };
  return { data: { values }, height: 180, mark: { type: "line", strokeWidth: 1.4, opacity: 0.8, point: { size: runs.length > 1 ? 6 : 16 } },
    encoding: { x: { field: "step", type: "quantitative", title: "step", axis: { tickMinStep: 1, format: "d" } }, y, detail: { field: "run" }, color: OWN_COLOUR, tooltip: tips("method", "setting", "seed", "step", title) } };
}

// The ranks of every layer over the steps; a rank of several modes gives a line for each. Steps where a layer is dense are gaps.
function ranksSpec(run) {
  const several = (rank) => Array.isArray(rank);
  const values = Object.entries(run.history.ranks).flatMap(([layer, ranks]) => ranks.flatMap((rank, index) =>
    [rank].flat().map((value, mode) => ({ step: run.history.step[index], rank: value, layer, line: several(rank) ? `${layer}, mode ${mode}` : layer }))));
  const few = new Set(values.map((value) => value.layer)).size <= 12;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return { data: { values }, height: 180, mark: { type: "line", strokeWidth: 1.5, point: { size: 16 }, invalid: "break-paths-show-domains" },
    encoding: { x: { field: "step", type: "quantitative", title: "step", axis: { tickMinStep: 1, format: "d" } },
      y: { field: "rank", type: "quantitative", title: "rank", axis: { tickMinStep: 1 } }, detail: { field: "line" },
      color: { field: "layer", type: "ordinal", sort: null, title: null, scale: { scheme: { name: "viridis", extent: dark ? [0.3, 1] : [0, 0.85] } }, legend: few ? { orient: "bottom", columns: 6 } : null },
      tooltip: tips("line", "step", "rank") } };
}
