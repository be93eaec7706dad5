// The counts above and the filters at the side.

// One box a value; what other filters leave of it stands beside. Built once, so that the keyboard keeps its place.
function buildFilters(changed) {
  for (const [facet, of] of Object.entries(FACETS)) {
    const values = [...new Set(data.runs.flatMap(of))].sort();
    if (!values.length) continue;
    const boxes = values.map((value) => {
      const box = element("input", { type: "checkbox", name: facet, value });
      return element(
        "label",
        {},
        box,
        facet === "method" && swatch(value),
        element(
          "span",
          { class: facet === "status" ? `name ${value}` : "name" },
          facet === "method" ? marked(value) : value,
        ),
        element("span", { class: "quiet" }),
      );
    });
    byId("facets").append(element("fieldset", {}, element("legend", {}, facet), boxes));
  }
  const form = byId("filters").querySelector("form");
  let waiting = 0; // until the hand rests: figures are drawn anew
  form.addEventListener("input", () => {
    state.text = byId("text").value;
    for (const facet of Object.keys(FACETS)) state.chosen[facet] = new Set(new FormData(form).getAll(facet));
    clearTimeout(waiting);
    waiting = setTimeout(changed, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    state.text = "";
    for (const facet of Object.keys(FACETS)) state.chosen[facet] = new Set();
    changed();
  });
}

function showFilters() {
  byId("text").value = state.text;
  for (const box of byId("facets").querySelectorAll("input")) {
    const number = data.runs.filter((run) => passes(run, box.name) && FACETS[box.name](run).includes(box.value)).length;
    box.checked = state.chosen[box.name].has(box.value);
    box.parentElement.lastChild.textContent = WHOLE.format(number);
  }
  const number = Object.values(state.chosen).reduce((sum, values) => sum + values.size, state.text ? 1 : 0);
  byId("chosen").textContent = number ? `${number} chosen` : "";
}

function showCounts(runs) {
  const different = (of) => new Set(runs.flatMap(of)).size;
  const states = ["ok", "diverged", "failed"].map((name) => [
    name,
    runs.filter((run) => run.state === name).length,
    name,
  ]);
  const counts = [
    ["runs", runs.length],
    ...states.map(([name, number, kind]) => [name, number, number ? kind : ""]),
    ["networks", different((run) => run.task)],
    ["methods", different(FACETS.method)],
    ["settings", different((run) => run.variant)],
  ];
  byId("counts").replaceChildren(
    ...counts.map(([name, number, kind]) =>
      element("div", {}, element("dt", {}, name), element("dd", { class: kind || null }, WHOLE.format(number))),
    ),
  );
}

function showOrigin() {
  const every = (of) => [...new Set(data.runs.map(of))].filter(Boolean).sort().join(", ");
  const days = data.runs.map((run) => run.started.slice(0, 10)).sort();
  byId("origin").textContent = [
    days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`,
    every((run) => run.environment.device),
    `commit ${every((run) => run.environment.commit?.slice(0, 7))}`,
  ]
    .filter(Boolean)
    .join(" · ");
  if (data.steps) byId("footnote").append(`Of each run ${data.steps} steps are kept here; its result.json has all. `);
  if (Object.values(data.methods).some((method) => method.mark)) byId("footnote").append(data.footnote);
}
