// One run in full: numbers, steps, ranks, the command that repeats it, its configuration and its files.

const runLink = (run, text) => element("a", { href: `#run=${run.id}`, onclick: (event) => { event.preventDefault(); openRun(run.id); } }, text);

function openRun(id) {
  const run = data.runs.find((other) => other.id === id);
  if (!run) return;
  state.run = id;
  remember();
  const dialog = byId("run");
  const { parts, figures } = panel(run, data.variants[run.variant]);
  dialog.replaceChildren(...parts);
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

function panel(run, variant) {
  const figures = [];
  const figure = (title, spec) => {
    const chart = element("div", { class: "chart" });
    figures.push([chart, spec, title]);
    return element("div", {}, element("h3", {}, title), chart);
  };
  const compareAs = (which) => element("button", { type: "button", onclick: () => {
    state[which] = `run ${run.id}`;
    byId("run").close();
    byId("compare").scrollIntoView();
    byId(which).focus({ preventScroll: true });
  } }, `Compare as ${which.toUpperCase()}`);
  const has = (field) => run.history?.[field]?.some(Number.isFinite);
  const parts = [
    element("div", { class: "title" },
      element("div", {}, element("h2", { id: "run-title" }, swatch(run.choices.method), " ", `${run.task}/${marked(run.choices.method)}`), element("p", { class: "quiet" }, variant.setting || "all settings are the defaults of this sweep")),
      element("button", { type: "button", autofocus: true, "aria-label": "Close", onclick: () => byId("run").close() }, "✕")),
    element("div", { class: "seeds" }, element("span", { class: "quiet" }, "seed"),
      variant.runs.map((other) => element("button", { type: "button", "aria-pressed": String(other === run), onclick: () => openRun(other.id) }, String(other.seed))),
      compareAs("a"), compareAs("b")),
    element("p", {}, element("b", { class: run.state }, run.status), element("span", { class: "quiet" }, ` · ${run.started.replace("T", " ")} · ${shown(run.seconds)} s · ${run.id}`, run.tags.length ? ` · ${run.tags.join(", ")}` : "")),
    run.comparison.length > 0 && section("Uncompressed and compressed", grid(["", "uncompressed", "compressed", ""], run.comparison)),
    run.rank_reason && element("p", { class: "quiet" }, run.rank_reason),
    Object.keys(run.layers).length > 0 && section("Layers", grid(["layer", "rank", "parameters", "MACs", "why"],
      Object.entries(run.layers).map(([name, layer]) => [name, rankOf(layer), shown(layer.params, true), shown(layer.macs, true), layer.reason ?? ""]), "text")),
    run.history && element("div", { class: "charts" },
      has("violation") && figure("Violation", stepsSpec([run], "violation", "violation (log)", "log")),
      has("penalty") && figure("Penalty μ", stepsSpec([run], "penalty", "penalty (log)", "log")),
      has("validation_top1_percent") && figure("Accuracy of the compressed weights", stepsSpec([run], "validation_top1_percent", "validation top-1 [%]")),
      Object.values(run.history.ranks).flat().some((rank) => rank !== null) && figure("Ranks", ranksSpec(run))),
    section("Repeat it", element("div", { class: "command" }, element("pre", {}, run.command),
      element("button", { type: "button", onclick: (event) => { navigator.clipboard?.writeText(run.command); event.target.textContent = "Copied"; } }, "Copy"))),
    run.folder !== null && section("Files", element("p", {}, run.files.map((name) => [element("a", { href: `${run.folder}/${encodeURIComponent(name)}` }, name), " "]))),
    section("Where and how", grid(["", ""], Object.entries({ ...run.signature, ...run.environment, ...run.environment.versions }).filter(([, value]) => typeof value !== "object").map(([key, value]) => [key, String(value)]), "text")),
    element("details", {}, element("summary", {}, "Configuration"), element("pre", {}, JSON.stringify(run.config, null, 2))),
  ];
  return { parts: parts.filter(Boolean), figures };
}

const section = (title, ...inside) => element("div", {}, element("h3", {}, title), inside);

// A small table of texts; numbers to the right, the last column and the first to the left.
function grid(head, lines, last = "") {
  const kind = (index) => (index === 0 || (last && index === head.length - 1) ? last && index ? last : null : "number");
  return element("div", { class: "scroll" }, element("table", {},
    head.some(Boolean) && element("thead", {}, element("tr", {}, head.map((text, index) => element("th", { class: kind(index), scope: "col" }, text)))),
    element("tbody", {}, lines.map((line) => element("tr", {}, line.map((text, index) => element(index ? "td" : "th", { class: kind(index) }, text)))))));
}
