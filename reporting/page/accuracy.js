// Accuracy against compression: ours, their front, and what papers report.

// From the smallest network to the largest: what no other beats in both.
function paretoFront(points) {
  let best = Infinity;
  const front = [...points]
    .sort((p, q) => q.x - p.x || p.y - q.y)
    .filter((point) => point.y < best && ((best = point.y), true));
  return front.reverse();
}

// A published row as a mark; where its size is not known, a line.
const reportedMark = (published) => ({
  x: published[state.ratio],
  y: published[ERROR],
  ...looks(published.method),
  row: published.name,
  source: published.source,
  place: published.place,
  error: `${shown(published[ERROR])} %`,
  compression: positive(published[state.ratio]) ? `${shown(published[state.ratio])}×` : "not reported",
});

function variantMark(variant) {
  const [x, y] = [variant.values[state.ratio], variant.values[ERROR]];
  const half = variant.half_widths[ERROR] ?? 0;
  return {
    x,
    y,
    low: Math.max(y - half, y / 2), // a logarithm has no zero
    high: y + half,
    variant: variant.index,
    setting: variant.setting,
    ...looks(variant.method),
    error: `${withHalf(ERROR, y, half)} %`,
    compression: `${shown(x)}×`,
    runs: variant.ok.length,
  };
}

function accuracySpec(variants, reported) {
  const drawn = (mark) => positive(mark.x, mark.y);
  const points = variants.map(variantMark).filter(drawn);
  const seeds = variants
    .flatMap((v) => v.ok.map((run) => ({ x: run.values[state.ratio], y: run.values[ERROR], ...looks(v.method) })))
    .filter(drawn);
  const theirs = reported.map(reportedMark).filter((mark) => positive(mark.y));
  const references = referenceErrors(variants.flatMap((v) => v.ok));
  // What failed to learn would press the rest together: it stands on the upper edge.
  const highest = Math.max(...[...points, ...theirs].map((mark) => mark.y));
  const domainMax = Math.min(highest * 1.1, 5 * Math.max(...(references.length ? references : [highest])));
  const edge = highest > domainMax ? "; above: on the edge" : "";
  const x = log("x", `${state.ratio}, uncompressed over compressed (log)`);
  const y = log("y", `test error [%] (log${edge})`, { clamp: true, domainMax });
  const tooltip = tips("row", "method", "error", "compression", "source", "place");
  return {
    layer: [
      ...references.flatMap((error) => level(error, "uncompressed", y)),
      {
        data: { values: theirs.filter((mark) => !drawn(mark)) },
        mark: { type: "rule", strokeDash: [6, 4], strokeWidth: 1.5 },
        encoding: { y, color: OWN_COLOUR, tooltip },
      },
      {
        data: { values: paretoFront(points) },
        mark: { type: "line", interpolate: "step-before", strokeWidth: 1, opacity: 0.7 },
        encoding: { x, y },
      },
      {
        data: { values: seeds },
        mark: { type: "circle", size: 12, opacity: 0.45 },
        encoding: { x, y, color: OWN_COLOUR },
      },
      {
        data: { values: points },
        mark: { type: "rule", opacity: 0.6 },
        encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: OWN_COLOUR },
      },
      ownMarks(points, x, y, "method", "setting", "error", "compression", "runs"),
      {
        data: { values: theirs.filter(drawn) },
        mark: { type: "point", filled: false, size: 110, strokeWidth: 1.8, opacity: 1 },
        encoding: { x, y, color: OWN_COLOUR, shape: OWN_SHAPE, tooltip },
      },
    ],
  };
}
