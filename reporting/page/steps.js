// What happens over the steps of a run.

// One value of every step, a line a run.
function stepsSpec(runs, field, title, scale = "linear") {
  const known = scale === "log" ? (value) => positive(value) : Number.isFinite;
  const values = runs
    .flatMap((run) =>
      (run.history[field] ?? []).map((value, index) => ({
        step: run.history.step[index],
        value,
        run: run.id,
        seed: run.seed,
        setting: data.variants[run.variant].setting,
        ...looks(run.choices.method),
        shown: shown(value),
      })),
    )
    .filter((point) => known(point.value));
  const y = {
    field: "value",
    type: "quantitative",
    title,
    scale: { type: scale, ...(scale === "linear" && { zero: false }) },
    axis: { tickCount: 5, ...(scale === "log" && { format: "~g" }) },
  };
  return {
    data: { values },
    height: 180,
    mark: { type: "line", strokeWidth: 1.4, opacity: 0.8, point: { size: runs.length > 1 ? 6 : 16 } },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step", axis: { tickMinStep: 1, format: "d" } },
      y,
      detail: { field: "run" },
      color: OWN_COLOUR,
      tooltip: [...tips("method", "setting", "seed", "step"), { field: "shown", title, type: "nominal" }],
    },
  };
}

// The ranks of every layer over the steps, a line for every mode; where a layer is dense there is a gap.
function ranksSpec(run) {
  const values = Object.entries(run.history.ranks).flatMap(([layer, ranks]) =>
    ranks.flatMap((rank, index) =>
      [rank].flat().map((value, mode) => ({
        step: run.history.step[index],
        rank: value,
        layer,
        line: Array.isArray(rank) ? `${layer}, mode ${mode}` : layer,
      })),
    ),
  );
  const few = new Set(values.map((value) => value.layer)).size <= 12;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return {
    data: { values },
    height: 180,
    mark: { type: "line", strokeWidth: 1.5, point: { size: 16 }, invalid: "break-paths-show-domains" },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step", axis: { tickMinStep: 1, format: "d" } },
      y: { field: "rank", type: "quantitative", title: "rank", axis: { tickMinStep: 1 } },
      detail: { field: "line" },
      color: {
        field: "layer",
        type: "ordinal",
        sort: null,
        title: null,
        scale: { scheme: { name: "viridis", extent: dark ? [0.3, 1] : [0, 0.85] } },
        legend: few ? { orient: "bottom", columns: 6 } : null,
      },
      tooltip: tips("line", "step", "rank"),
    },
  };
}
