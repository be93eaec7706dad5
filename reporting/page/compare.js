// Two side by side, column by column: runs, means over seeds, or methods at equal size.

// Settings of two methods are compared where their sizes are as near as this.
const NEAR = 1.25;

function compareOptions(select, chosen) {
  const groups = [
    ["Methods, at equal size", Object.keys(data.methods).filter((m) => data.variants.some((v) => v.method === m)).map((m) => [`method ${m}`, marked(m)])],
    ["Means over seeds", data.variants.map((v) => [`mean ${v.index}`, v.name])],
    ["Runs", data.runs.map((run) => [`run ${run.id}`, `${data.variants[run.variant].name}, seed ${run.seed}`])],
  ];
  select.replaceChildren(option("", "choose …"), ...groups.map(([label, options]) => element("optgroup", { label }, options.map(([value, text]) => option(value, text.length > 90 ? `${text.slice(0, 88)} …` : text)))));
  select.value = chosen;
}

function pick(key, ticked) {
  if (!ticked) for (const which of ["a", "b"]) { if (state[which] === key) state[which] = ""; }
  else if (!state.a) state.a = key;
  else { if (state.b) state.a = state.b; state.b = key; }
  showComparison();
  remember();
}

function found(key) {
  const [kind, ...rest] = key.split(" "), name = rest.join(" ");
  if (kind === "run") { const run = data.runs.find((other) => other.id === name); return run && { kind, run, of: run, name: `${data.variants[run.variant].name}, seed ${run.seed}` }; }
  if (kind === "mean") { const of = data.variants[name]; return of && { kind, run: of.runs[0], of, name: of.name }; }
  if (kind === "method") return data.methods[name] && { kind, method: name, name: marked(name) };
  return null;
}

function showComparison() {
  byId("a").value = state.a;
  byId("b").value = state.b;
  for (const box of byId("table").querySelectorAll("input")) box.checked = [state.a, state.b].includes(box.dataset.key);
  const [a, b] = [found(state.a), found(state.b)];
  const place = byId("difference");
  if (!a || !b) return place.replaceChildren(element("p", { class: "quiet" }, "Choose two methods, two means or two runs here, or tick them in the table below."));
  if ((a.kind === "method") !== (b.kind === "method")) return place.replaceChildren(element("p", { class: "quiet" }, "A method compares with a method, a run or a mean with a run or a mean."));
  place.replaceChildren(...(a.kind === "method" ? methodsCompared(a, b) : rowsCompared(a, b)));
}

// More points are a difference, more parameters a ratio.
function change(name, one, other) {
  if (!Number.isFinite(one) || !Number.isFinite(other)) return "–";
  if (name.endsWith("[%]")) return `${other >= one ? "+" : "−"}${PARTS.format(Math.abs(other - one))} points`;
  return one ? `× ${PARTS.format(other / one)}` : "–";
}

function differences(a, b, one, other) {
  return element("div", { class: "wide" }, element("table", {},
    element("thead", {}, element("tr", {}, element("th", {}, ""), element("th", { class: "number", scope: "col" }, "A"), element("th", { class: "number", scope: "col" }, "B"), element("th", { class: "number", scope: "col" }, "B against A"))),
    element("tbody", {}, data.columns.map((name) => element("tr", {}, element("th", { scope: "row" }, name),
      element("td", { class: "number" }, withHalf(name, one.values[name], one.half_widths?.[name])), element("td", { class: "number" }, withHalf(name, other.values[name], other.half_widths?.[name])),
      element("td", { class: "number" }, change(name, one.values[name], other.values[name])))))));
}

function rowsCompared(a, b) {
  const flat = (value, place = "") => value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.entries(value).flatMap(([key, inner]) => flat(inner, place ? `${place}.${key}` : key)) : [[place, JSON.stringify(value)]];
  const [mine, yours] = [a, b].map(({ run, kind }) => new Map(flat({ ...run.choices, ...run.config }).concat(kind === "run" ? [["status", run.status]] : []).filter(([key]) => kind === "run" || key !== "seed")));
  const keys = [...new Set([...mine.keys(), ...yours.keys()])].filter((key) => mine.get(key) !== yours.get(key));
  return [element("p", { class: "quiet" }, `A: ${a.name}`, element("br"), `B: ${b.name}`), differences(a, b, a.of, b.of),
    keys.length ? element("details", {}, element("summary", {}, `${count(keys.length, "setting")} differ${keys.length === 1 ? "s" : ""}`), grid(["setting", "A", "B"], keys.map((key) => [key, mine.get(key) ?? "–", yours.get(key) ?? "–"]))) : element("p", { class: "quiet" }, "All settings are the same.")];
}

// Each setting of A with the setting of B on the same network whose size is nearest: no method is judged by its budgets.
function methodsCompared(a, b) {
  const of = ({ method }) => data.variants.filter((v) => v.method === method && positive(v.values[state.ratio], v.values[ERROR]));
  const distance = (v, w) => Math.abs(Math.log(v.values[state.ratio] / w.values[state.ratio]));
  const pairs = of(a).flatMap((v) => {
    const near = of(b).filter((w) => w.task === v.task && distance(v, w) <= Math.log(NEAR)).sort((p, q) => distance(v, p) - distance(v, q));
    return near.length ? [[v, near[0]]] : [];
  });
  if (!pairs.length) return [element("p", { class: "quiet" }, `${a.name} and ${b.name} have no settings on the same network with a ${state.ratio} within ${shown(100 * (NEAR - 1))} %.`)];
  const average = (index) => ({ values: Object.fromEntries(data.columns.map((name) => [name, pairs.reduce((sum, pair) => sum + pair[index].values[name], 0) / pairs.length])) });
  return [
    element("p", { class: "quiet" }, `Means over ${count(pairs.length, "pair")} of settings on the same network, ${state.ratio} within 25 %.`),
    differences(a, b, average(0), average(1)),
    element("details", { open: true }, element("summary", {}, "The pairs"), grid(["network", `A ${state.ratio}`, `B ${state.ratio}`, "A error [%]", "B error [%]", "B against A"],
      pairs.map(([v, w]) => [v.task, shown(v.values[state.ratio]), shown(w.values[state.ratio]), shown(v.values[ERROR]), shown(w.values[ERROR]), change(ERROR, v.values[ERROR], w.values[ERROR])])))];
}
