// The table of runs, or of the means over their seeds: sorted by any column, two of it picked for comparison.

function columnsOf(several) {
  const single = state.lines === "runs";
  const first = (line) => (single ? line : line.runs[0]);
  return [
    ["method", (line) => first(line).choices.method],
    ...(several ? [["network", (line) => first(line).task]] : []),
    ["setting", (line) => data.variants[first(line).variant].setting],
    single ? ["seed", (line) => line.seed] : ["runs", (line) => line.runs.length],
    ["status", (line) => statusOf(line)],
    ...data.columns.map((name) => [name, (line) => line.values[name] ?? null]),
  ];
}

// "ok", or what befell which part of the seeds.
function statusOf(line) {
  if (line.status) return line.status;
  const states = line.runs.map((run) => run.state);
  return [...new Set(states)]
    .sort()
    .map((name) =>
      states.every((other) => other === name) ? name : `${states.filter((other) => other === name).length} ${name}`,
    )
    .join(", ");
}

function showTable(runs) {
  const single = state.lines === "runs";
  const lines = single ? [...runs] : [...new Set(runs.map((run) => data.variants[run.variant]))];
  const several = new Set(runs.map((run) => run.task)).size > 1;
  const columns = columnsOf(several);
  const by = columns.find(([name]) => name === state.sort);
  if (by) {
    const sign = state.down ? -1 : 1;
    const compare = (p, q) =>
      typeof p === "number" && typeof q === "number"
        ? p - q
        : String(p).localeCompare(String(q), "en", { numeric: true });
    lines.sort((p, q) => {
      // what is not known comes last, whichever way
      const [one, other] = [by[1](p), by[1](q)];
      return one === null || other === null ? (one === null) - (other === null) : sign * compare(one, other);
    });
  }
  byId("lines").value = state.lines;
  byId("shown").textContent = `${count(lines.length, "line")}; the name opens a run, ticks fill the comparison above`;
  const focused = document.activeElement?.dataset?.sort;
  const head = ([name]) =>
    element(
      "th",
      {
        scope: "col",
        class: data.columns.includes(name) ? "number" : null,
        "aria-sort": name === state.sort ? (state.down ? "descending" : "ascending") : null,
      },
      element("button", { type: "button", "data-sort": name, onclick: () => sortBy(name) }, name),
    );
  const ticks = element("th", {}, quiet("A, B"));
  const body = lines.map((line) => tableLine(line, single, several));
  byId("table").replaceChildren(table([ticks, columns.map(head)], body));
  if (focused) document.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
}

function tableLine(line, single, several) {
  const run = single ? line : line.runs[0];
  const variant = data.variants[run.variant];
  const key = single ? `run ${run.id}` : `mean ${variant.id}`;
  const box = element("input", {
    type: "checkbox",
    "aria-label": `Compare ${variant.name}${single ? `, seed ${run.seed}` : ""}`,
    "data-key": key,
    onchange: (event) => pick(key, event.target.checked),
  });
  box.checked = state.a === key || state.b === key;
  const number = (name) =>
    element("td", { class: "number" }, withInterval(name, line));
  const status = statusOf(line);
  const worst = ["failed", "diverged", "ok"].find((name) => status.includes(name));
  return row(
    element("td", {}, box),
    element("th", { scope: "row" }, swatch(run.choices.method), " ", runLink(run, marked(run.choices.method))),
    several && element("td", {}, run.task),
    element("td", { class: "long", title: variant.setting }, variant.setting),
    element("td", {}, single ? String(run.seed) : String(line.runs.length)),
    element("td", { class: `long ${worst}`, title: status }, status),
    data.columns.map(number),
  );
}

// Published rows follow the filters that they can answer.
function showReported() {
  const passing = data.reported.filter((published) =>
    ["dataset", "network", "method"].every((facet) => {
      const chosen = state.chosen[facet];
      return !chosen.size || chosen.has(published[facet]);
    }),
  );
  const columns = [
    ["row", "name"],
    ["network", "task"],
    ["method", "method"],
    ["test error [%]", ERROR],
    ["params ratio", "params ratio"],
    ["MACs ratio", "MACs ratio"],
    ["known from", "provenance"],
    ["source", "source"],
    ["place", "place"],
    ["differs", "differs"],
  ];
  const isNumber = (key) => key === ERROR || key.endsWith("ratio");
  const cell = (published, key) => {
    if (key === "method") return element("td", {}, swatch(published.method), " ", marked(published.method));
    if (isNumber(key)) return element("td", { class: "number" }, shown(published[key]));
    return element("td", { class: "long", title: published[key] }, shown(published[key]));
  };
  const heads = columns.map(([name, key]) => element("th", { scope: "col", class: isNumber(key) && "number" }, name));
  const lines = passing.map((published) => row(columns.map(([, key]) => cell(published, key))));
  byId("reported").replaceChildren(table(heads, lines));
  byId("reported").closest("section").hidden = !passing.length;
}
