// One run in full: numbers, steps, ranks, the command that repeats it, its configuration and its files.

function runLink(run, text) {
  const onclick = (event) => {
    event.preventDefault();
    openRun(run.id);
  };
  return element("a", { href: `#run=${run.id}`, onclick }, text);
}

function openRun(id) {
  const run = data.runs.find((other) => other.id === id);
  if (!run) return;
  state.run = id;
  remember();
  const dialog = byId("run");
  const figures = [];
  dialog.replaceChildren(
    ...[runHead(run), runNumbers(run), runSteps(run, figures), runOrigin(run)].flat().filter(Boolean),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  figures.forEach(([chart, spec, title]) => draw(chart, spec, title));
}

// The browser closes it on Escape and gives the focus back, so what lies below is left as it is.
function buildRun() {
  const dialog = byId("run");
  dialog.addEventListener("close", () => {
    state.run = "";
    showComparison();
    remember();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

function runHead(run) {
  const variant = data.variants[run.variant];
  const compareAs = (which) =>
    button(`Compare as ${which.toUpperCase()}`, () => {
      state[which] = `run ${run.id}`;
      byId("run").close();
      byId("compare").scrollIntoView();
      byId(which).focus({ preventScroll: true });
    });
  const seed = (other) => button(other.seed, () => openRun(other.id), { "aria-pressed": String(other === run) });
  const title = `${run.task}/${marked(run.choices.method)}`;
  const close = button("✕", () => byId("run").close(), { autofocus: true, "aria-label": "Close" });
  const facts = [run.started.replace("T", " "), `${shown(run.seconds)} s`, run.id, ...run.tags];
  return [
    element(
      "div",
      { class: "title" },
      element(
        "div",
        {},
        element("h2", { id: "run-title" }, swatch(run.choices.method), " ", title),
        note(variant.setting),
      ),
      close,
    ),
    element("div", { class: "seeds" }, quiet("seed"), variant.runs.map(seed), compareAs("a"), compareAs("b")),
    element("p", {}, element("b", { class: run.state }, run.status), quiet(["", ...facts].join(" · "))),
  ];
}

function runNumbers(run) {
  const layers = Object.entries(run.layers).map(([name, layer]) => {
    return [name, rankOf(layer), shown(layer.params, true), shown(layer.macs, true), layer.reason ?? ""];
  });
  return [
    run.comparison.length > 0 &&
      section("Uncompressed and compressed", grid(["", "uncompressed", "compressed", ""], run.comparison)),
    run.rank_reason && note(run.rank_reason),
    layers.length > 0 &&
      section("Layers", grid(["layer", "rank", "parameters", "MACs", "why"], layers, { lastIsText: true })),
  ];
}

function runSteps(run, figures) {
  if (!run.history) return null;
  const figure = (title, spec) => {
    const chart = element("div", { class: "chart" });
    figures.push([chart, spec, title]);
    return section(title, chart);
  };
  const over = (title, field, axis, scale) =>
    run.history[field]?.some(Number.isFinite) && figure(title, stepsSpec([run], field, axis, scale));
  const ranks = Object.values(run.history.ranks).flat();
  return element(
    "div",
    { class: "charts" },
    over("Violation", "violation", "violation (log)", "log"),
    over("Penalty μ", "penalty", "penalty (log)", "log"),
    over("Accuracy of the compressed weights", "validation_top1_percent", "validation top-1 [%]"),
    ranks.some((rank) => rank !== null) && figure("Ranks", ranksSpec(run)),
  );
}

function runOrigin(run) {
  const copy = button("Copy", () => {
    navigator.clipboard?.writeText(run.command);
    copy.textContent = "Copied";
  });
  const file = (name) => [element("a", { href: `${run.folder}/${encodeURIComponent(name)}` }, name), " "];
  const { versions, ...environment } = run.environment;
  const facts = Object.entries({ ...run.signature, ...environment, ...versions }).map(([key, value]) => {
    return [key, String(value ?? "–")];
  });
  return [
    section("Repeat it", element("div", { class: "command" }, element("pre", {}, run.command), copy)),
    run.folder !== null && section("Files", element("p", {}, run.files.map(file))),
    section("Where and how", grid(["", ""], facts, { lastIsText: true })),
    element(
      "details",
      {},
      element("summary", {}, "Configuration"),
      element("pre", {}, JSON.stringify(run.config, null, 2)),
    ),
  ];
}
