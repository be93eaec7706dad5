// Two side by side, column by column: runs, means over seeds, or methods at equal size.

// Settings of two methods are compared where their sizes are as near as this.
const NEAR = data.near;
const CORRECTED = "p-values are Student's of the differences, corrected by Holm over all settings of like size.";
const BY_SEED = "B less A in error, pairs of seeds";
// How the test error of variant `b` differs from that of `a`, with its p-value; "–" where they are not of like size.
const bySeed = (a, b) => data.differences[b.index]?.[a.index] ?? "–";

// What can be compared is known by a key: "method svd", "mean <variant>", "run <id>".
function compareOptions(select) {
  const methods = Object.keys(data.methods).filter((name) => data.variants.some((variant) => variant.method === name));
  const groups = [
    ["Methods, at equal size", methods.map((name) => [`method ${name}`, marked(name)])],
    ["Means over seeds", data.variants.map((variant) => [`mean ${variant.id}`, variant.name])],
    ["Runs", data.runs.map((run) => [`run ${run.id}`, nameOfRun(run)])],
  ];
  const short = (text) => (text.length > 90 ? `${text.slice(0, 88)} …` : text);
  const group = ([label, options]) =>
    element(
      "optgroup",
      { label },
      options.map(([key, text]) => option(key, short(text))),
    );
  select.replaceChildren(option("", "choose …"), ...groups.map(group));
}

const nameOfRun = (run) => `${data.variants[run.variant].name}, seed ${run.seed}`;

// The last two that were ticked are A and B.
function pick(key, ticked) {
  const picked = [state.a, state.b].filter((other) => other && other !== key);
  if (ticked) picked.push(key);
  [state.a = "", state.b = ""] = picked.slice(-2);
  showComparison();
  remember();
}

function found(key) {
  const [, kind, name] = key.match(/^(\w+) (.*)$/) ?? [];
  const run = kind === "run" && data.runs.find((other) => other.id === name);
  const variant = kind === "mean" && data.variants.find((other) => other.id === name);
  if (run) return { kind, name: nameOfRun(run), line: run, run };
  if (variant) return { kind, name: variant.name, line: variant, run: variant.runs[0] };
  return kind === "method" && Object.hasOwn(data.methods, name) ? { kind, name: marked(name), method: name } : null;
}

function showComparison() {
  byId("a").value = state.a;
  byId("b").value = state.b;
  for (const box of byId("table").querySelectorAll("input")) box.checked = [state.a, state.b].includes(box.dataset.key);
  byId("difference").replaceChildren(...compared(found(state.a), found(state.b)));
}

function compared(a, b) {
  if (!a || !b) return [note("Choose two methods, two means or two runs here, or tick them in the table below.")];
  if (a.method && b.method) return methodsCompared(a, b);
  if (a.method || b.method) return [note("A method compares with a method, a run or a mean with a run or a mean.")];
  return rowsCompared(a, b);
}

// More points are a difference, more parameters a ratio.
function change(column, one, other) {
  if (!Number.isFinite(one) || !Number.isFinite(other)) return "–";
  if (/\[%\]|Δ/.test(column)) return `${other >= one ? "+" : "−"}${shown(Math.abs(other - one))} points`;
  return one ? `× ${shown(other / one)}` : "–";
}

function differences(one, other) {
  const lines = data.columns.map((column) => {
    return [column, withInterval(column, one), withInterval(column, other), change(column, one.values[column], other.values[column])];
  });
  return grid(["", "A", "B", "B against A"], lines);
}

function rowsCompared(a, b) {
  const [mine, yours] = [a, b].map(settings);
  const keys = [...new Set([...mine.keys(), ...yours.keys()])].filter((key) => mine.get(key) !== yours.get(key));
  const lines = keys.map((key) => [key, mine.get(key) ?? "–", yours.get(key) ?? "–"]);
  const title = `${count(keys.length, "setting")} differ${keys.length === 1 ? "s" : ""}`;
  return [
    note(`A: ${a.name}`, element("br"), `B: ${b.name}`),
    differences(a.line, b.line),
    ...(a.kind === "mean" && b.kind === "mean" ? [note(`${BY_SEED}: ${bySeed(a.line, b.line)}. ${CORRECTED}`)] : []),
    keys.length
      ? element("details", {}, element("summary", {}, title), grid(["setting", "A", "B"], lines))
      : note("All settings are the same."),
  ];
}

// The choices and the configuration as one list; a mean has no seed.
function settings({ kind, run }) {
  const flat = (value, place) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => flat(inner, place ? `${place}.${key}` : key))
      : [[place, JSON.stringify(value)]];
  const all = new Map(flat({ ...run.choices, ...run.config }, ""));
  if (kind === "mean") all.delete("seed");
  return all;
}

// Of what passes the filters, whatever the method: each setting of A with that setting of B on the same network whose size
// is nearest: budgets are no merit.
function methodsCompared(a, b) {
  const known = (variant) =>
    positive(variant.values[state.ratio], variant.values[ERROR]) && variant.runs.some((run) => passes(run, "method"));
  const of = ({ method }) => data.variants.filter((variant) => variant.method === method && known(variant));
  const distance = (v, w) => Math.abs(Math.log(v.values[state.ratio] / w.values[state.ratio]));
  const pairs = of(a).flatMap((v) => {
    const near = of(b).filter((w) => w.task === v.task && distance(v, w) <= Math.log(NEAR));
    return near.length ? [[v, near.sort((p, q) => distance(v, p) - distance(v, q))[0]]] : [];
  });
  const within = `${state.ratio} within ${Math.round(100 * (NEAR - 1))} %`;
  if (!pairs.length) return [note(`${a.name} and ${b.name} have no settings on the same network with a ${within}.`)];
  const average = (side) => ({
    values: Object.fromEntries(
      data.columns.map((column) => [column, meanOf(pairs.map((p) => p[side].values[column]))]),
    ),
  });
  const lines = pairs.map(([v, w]) => {
    const [size, error] = [state.ratio, ERROR].map((column) => [v.values[column], w.values[column]]);
    return [
      v.task,
      ...size.map((value) => shown(value)),
      ...error.map((value) => shown(value)),
      bySeed(v, w),
    ];
  });
  const heads = ["network", `A ${state.ratio}`, `B ${state.ratio}`, "A error [%]", "B error [%]", BY_SEED];
  return [
    note(
      `Means over ${count(pairs.length, "pair")} of settings that pass the filters, on the same network, ${within}.`,
    ),
    differences(average(0), average(1)),
    element("details", { open: true }, element("summary", {}, "The pairs"), grid(heads, lines)),
    note(CORRECTED),
  ];
}
