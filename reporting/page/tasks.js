// One card for every network on its data: accuracy, the promise of the counts, the ranks, the steps.

const cards = new Map();

function showTasks(runs, opened) {
  const mine = new Map();
  for (const run of runs) mine.set(run.task, [...(mine.get(run.task) ?? []), run]);
  const kept = [...mine.keys()].sort((p, q) => mine.get(q).length - mine.get(p).length);
  if (!cards.size && kept.length) cards.set(kept[0], card(kept[0], true));
  byId("tasks").replaceChildren(...kept.map((task) => {
    if (!cards.has(task)) cards.set(task, card(task, false));
    const place = cards.get(task);
    place.runs = mine.get(task);
    place.opened = opened;
    place.querySelector("summary").replaceChildren(...summary(task, place.runs));
    return place;
  }));
  kept.forEach((task) => cards.get(task).open && fill(cards.get(task)));
  if (!kept.length) byId("tasks").append(element("p", { class: "quiet" }, "No run passes the filters."));
}

function card(task, open) {
  const made = element("details", { class: "task", open, "data-task": task }, element("summary"), element("div"));
  made.addEventListener("toggle", () => made.open && made.runs && fill(made));
  return made;
}

function summary(task, runs) {
  const reference = referenceError(runs);
  const reported = data.reported.filter((row) => row.task === task).length;
  const said = [
    count(runs.length, "run"),
    count(new Set(runs.map((run) => run.choices.method)).size, "method"),
    reference && `uncompressed error ${shown(reference)} %`,
    reported && `${reported} reported`,
  ];
  const states = ["diverged", "failed"].map((name) => [name, runs.filter((run) => run.state === name).length]).filter(([, number]) => number);
  return [element("b", {}, task), element("span", { class: "quiet" }, said.filter(Boolean).join(" · ")),
    ...states.map(([name, number]) => element("span", { class: `state ${name}` }, `${number} ${name}`))];
}

function fill(place) {
  const variants = [...new Set(place.runs.map((run) => data.variants[run.variant]))];
  const methods = [...new Set([...place.runs.map((run) => run.choices.method)])].sort();
  const chosen = state.chosen.method;
  const reported = data.reported.filter((row) => row.task === place.dataset.task && (!chosen.size || chosen.has(row.method)));
  const stepped = variants.flatMap((variant) => variant.runs.filter((run) => run.history).slice(0, 1));
  const open = (datum) => {
    if (datum.variant !== undefined) place.opened(data.variants[datum.variant].runs[0].id);
    else if (datum.run !== undefined) place.opened(datum.run);
  };
  const figures = [];
  const figure = (title, note, spec, wanted = true) => {
    if (!wanted) return null;
    const chart = element("div", { class: "chart" });
    figures.push([chart, spec, title]);
    return element("div", {}, element("h3", {}, title, " ", element("span", { class: "quiet" }, note)), chart);
  };
  const charts = element("div", { class: "charts" },
    figure("Accuracy against compression", "line: Pareto front; hollow: reported", accuracySpec(variants, reported)),
    figure("Counted against measured", "who keeps the promise", promiseSpec(variants), variants.some((v) => v.ok.length)),
    heatMap(variants),
    stepped.length && element("div", { class: "stack" },
      figure("Violation ‖W − Θ‖² over L steps", "first seed of each setting", stepsSpec(stepped, "violation", "violation (log)", "log")),
      figure("Accuracy over L steps", "of the compressed weights, validation part", stepsSpec(stepped, "validation_top1_percent", "validation top-1 [%]"))));
  const legend = element("div", { class: "legend" }, [...new Set([...methods, ...reported.map((row) => row.method)])].map((method) => element("span", {}, swatch(method), marked(method))));
  place.drawn?.forEach(async (view) => (await view)?.finalize());
  place.lastChild.replaceChildren(charts, legend);
  place.drawn = figures.map(([chart, spec, title]) => draw(chart, spec, `${title}, ${place.dataset.task}`, open));
}

// So many layers leave room for a figure beside their ranks.
const WIDE = 8;

// Ranks as a table: a line a setting, a column a layer; the shade is the share of the weights that is kept.
function heatMap(variants) {
  const lines = variants.filter((variant) => variant.ok.some((run) => Object.keys(run.layers).length));
  if (!lines.length) return null;
  const firsts = lines.map((variant) => [variant, variant.ok.find((run) => Object.keys(run.layers).length)]);
  const layers = [...new Set(firsts.flatMap(([, run]) => Object.keys(run.layers)))];
  const most = Object.fromEntries(layers.map((layer) => [layer, Math.max(...data.runs.filter((run) => run.task === lines[0].task).map((run) => run.layers[layer]?.params ?? 0))]));
  const cell = (layer, name) => {
    if (!layer) return element("td", {}, "–");
    const share = most[name] ? layer.params / most[name] : 0;
    const said = [`${shown(layer.params, true)} parameters (${shown(100 * share)} %)`, `${shown(layer.macs, true)} MACs`, layer.reason].filter(Boolean).join("; ");
    const text = /^[\d,]+ of /.test(rankOf(layer)) ? `${shown(100 * share)} %` : rankOf(layer);
    return element("td", { style: `--share: ${(0.06 + 0.9 * Math.sqrt(share)).toFixed(3)}`, class: share > 0.3 && "strong", title: `${name}: ${rankOf(layer)}; ${said}` }, text);
  };
  return element("div", { class: layers.length > WIDE ? "whole" : null }, element("h3", {}, "Ranks ", element("span", { class: "quiet" }, "of the first seed; darker: more of the layer's weights kept")),
    element("div", { class: "heat", tabindex: 0, role: "region", "aria-label": `Ranks, ${lines[0].task}` }, element("table", {},
      element("thead", {}, element("tr", {}, element("th", {}, ""), layers.map((layer) => element("th", { scope: "col" }, layer)))),
      element("tbody", {}, firsts.map(([variant, run]) => element("tr", {},
        element("th", { scope: "row", class: "long", title: variant.setting }, swatch(variant.method), " ", runLink(run, marked(variant.method)),
          element("span", { class: "quiet" }, ` ${variant.setting.replaceAll(/\b(rank|method)\./g, "")}`)),
        layers.map((layer) => cell(run.layers[layer], layer))))))));
}
