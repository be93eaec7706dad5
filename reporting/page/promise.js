// What is counted against what is measured: who keeps the promise.

// Counted against measured: on the diagonal the time falls as the multiply-adds do.
function promiseSpec(variants) {
  const points = variants
    .filter((v) => positive(v.values["MACs ratio"], v.values[state.batch]))
    .map((v) => {
      const [x, y] = [v.values["MACs ratio"], v.values[state.batch]];
      return {
        x,
        y,
        variant: v.index,
        setting: v.setting,
        ...looks(v.method),
        counted: `${shown(x)}× fewer MACs`,
        measured: y >= 1 ? `${shown(y)}× faster` : `${shown(1 / y)}× slower`,
        kept: `${shown((100 * y) / x)} %`,
      };
    });
  const start = Math.min(1, ...points.map((point) => point.x));
  const most = Math.max(1.5, ...points.map((point) => point.x));
  const end = Math.min(most, 1.3 * Math.max(1, ...points.map((point) => point.y))); // as far as there is room
  const x = log("x", "MACs ratio, counted (log)");
  const y = log("y", `${state.batch}, measured (log)`);
  return {
    layer: [
      {
        data: {
          values: [
            { x: start, y: start },
            { x: end, y: end },
          ],
        },
        mark: { type: "line", strokeDash: [4, 3], strokeWidth: 1 },
        encoding: { x, y },
      },
      {
        data: { values: [{ x: end, y: end }] },
        mark: { type: "text", align: "right", dx: -8, text: "as counted" },
        encoding: { x, y },
      },
      ...level(1, "no faster", y),
      ownMarks(points, x, y, "method", "setting", "counted", "measured", "kept"),
    ],
  };
}
