// One card for every network on its data: accuracy, the promise of the counts, the ranks, the steps.

const cards = new Map();
// Where data of one name differ, a task says more than a published row does.
const plainTask = (run) => `${run.choices.dataset}/${run.choices.network}`;

function showTasks(runs, opened) {
  const mine = new Map();
  for (const run of runs) mine.set(run.task, [...(mine.get(run.task) ?? []), run]);
  const kept = [...mine.keys()].sort((p, q) => mine.get(q).length - mine.get(p).length);
  if (!cards.size && kept.length) cards.set(kept[0], card(kept[0], true));
  byId("tasks").replaceChildren(
    ...kept.map((task) => {
      if (!cards.has(task)) cards.set(task, card(task, false));
      const place = cards.get(task);
      place.runs = mine.get(task);
      place.opened = opened;
      place.querySelector("summary").replaceChildren(...summary(task, place.runs));
      return place;
    }),
  );
  kept.forEach((task) => cards.get(task).open && fill(cards.get(task)));
  if (!kept.length) byId("tasks").append(element("p", { class: "quiet" }, "No run passes the filters."));
}

function card(task, open) {
  const made = element("details", { class: "task", open, "data-task": task }, element("summary"), element("div"));
  made.addEventListener("toggle", () => made.open && made.runs && fill(made));
  return made;
}

function summary(task, runs) {
  const references = referenceErrors(runs);
  const reported = data.reported.filter((published) => published.task === plainTask(runs[0])).length;
  const said = [
    count(runs.length, "run"),
    count(new Set(runs.map((run) => run.choices.method)).size, "method"),
    references.length && `uncompressed error ${references.map((error) => shown(error)).join(", ")} %`,
    reported && `${reported} reported`,
  ];
  const states = ["diverged", "failed"]
    .map((name) => [name, runs.filter((run) => run.state === name).length])
    .filter(([, number]) => number);
  return [
    element("b", {}, task),
    element("span", { class: "quiet" }, said.filter(Boolean).join(" · ")),
    ...states.map(([name, number]) => element("span", { class: `state ${name}` }, `${number} ${name}`)),
  ];
}

function fill(place) {
  const variants = [...new Set(place.runs.map((run) => data.variants[run.variant]))];
  const chosen = state.chosen.method;
  const reported = data.reported.filter(
    (published) => published.task === plainTask(place.runs[0]) && (!chosen.size || chosen.has(published.method)),
  );
  const stepped = variants.flatMap((variant) => variant.runs.filter((run) => run.history).slice(0, 1));
  const figures = [];
  const figure = (title, remark, spec) => {
    const chart = element("div", { class: "chart" });
    figures.push([chart, spec, title]);
    return section([title, " ", quiet(remark)], chart);
  };
  const charts = [
    figure("Accuracy against compression", "line: Pareto front; hollow: reported; pale: one seed", accuracySpec(variants, reported)),
    figure("Counted against measured", "who keeps the promise", promiseSpec(variants)),
    heatMap(variants),
  ];
  if (stepped.length) {
    const violation = stepsSpec(stepped, "violation", "violation (log)", "log");
    const accuracy = stepsSpec(stepped, "validation_top1_percent", "validation top-1 [%]");
    charts.push(
      element(
        "div",
        { class: "stack" },
        figure("Violation ‖W − Θ‖² over L steps", "first seed of each setting", violation),
        figure("Accuracy over L steps", "of the compressed weights, validation part", accuracy),
      ),
    );
  }
  const methods = [...new Set([...variants, ...reported].map((either) => either.method))].sort();
  const legend = methods.map((method) => element("span", {}, swatch(method), marked(method)));
  place.drawn?.forEach(async (view) => (await view)?.finalize());
  place.lastChild.replaceChildren(
    element("div", { class: "charts" }, charts),
    element("div", { class: "legend" }, legend),
  );
  const open = ({ variant, run }) => {
    if (variant !== undefined) place.opened(data.variants[variant].runs[0].id);
    else if (run !== undefined) place.opened(run);
  };
  place.drawn = figures.map(([chart, spec, title]) => draw(chart, spec, `${title}, ${place.dataset.task}`, open));
}

// So many layers leave room for a figure beside their ranks.
const WIDE = 8;

// Ranks as a table: a line a setting, a column a layer; the shade is the share of the weights that is kept.
function heatMap(variants) {
  const hasLayers = (run) => Object.keys(run.layers).length > 0;
  const lines = variants.filter((variant) => variant.ok.some(hasLayers));
  if (!lines.length) return null;
  const { task } = lines[0];
  const firsts = lines.map((variant) => variant.ok.find(hasLayers));
  const layers = [...new Set(firsts.flatMap((run) => Object.keys(run.layers)))];
  const everyRun = data.runs.filter((run) => run.task === task);
  const largest = (name) => Math.max(...everyRun.map((run) => run.layers[name]?.params ?? 0));
  const most = Object.fromEntries(layers.map((name) => [name, largest(name)]));
  const line = (run) => {
    const variant = data.variants[run.variant];
    const short = variant.setting.replaceAll(/\b(rank|method)\./g, "");
    const named = [swatch(variant.method), " ", runLink(run, marked(variant.method)), " ", quiet(short)];
    return row(
      element("th", { scope: "row", class: "long", title: variant.setting }, named),
      layers.map((name) => heatCell(name, run.layers[name], most[name])),
    );
  };
  const heads = ["", ...layers].map((name) => element("th", { scope: "col" }, name));
  return element(
    "div",
    { class: layers.length > WIDE && "whole" },
    element("h3", {}, "Ranks ", quiet("of the first seed; darker: more of the layer's weights kept")),
    element(
      "div",
      { class: "heat", tabindex: 0, role: "region", "aria-label": `Ranks, ${task}` },
      table(heads, firsts.map(line)),
    ),
  );
}

function heatCell(name, layer, most) {
  if (!layer) return element("td", {}, "–");
  const kept = layer.form?.match(/\(([\d.]+) %\)/)?.[1]; // "4,286 of 235,200 weights (1.8 %)"
  const share = kept ? kept / 100 : most ? layer.params / most : 0;
  const percent = `${shown(100 * share)} %`;
  const sizes = `${shown(layer.params, true)} parameters (${percent}); ${shown(layer.macs, true)} MACs`;
  return element(
    "td",
    {
      style: `--share: ${(0.06 + 0.9 * Math.sqrt(share)).toFixed(3)}`,
      class: share > 0.3 && "strong",
      title: [`${name}: ${rankOf(layer)}`, sizes, layer.reason].filter(Boolean).join("; "),
    },
    kept ? percent : rankOf(layer),
  );
}
