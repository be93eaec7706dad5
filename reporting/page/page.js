// Everything together: what is shown follows from `state`, and every change goes through `update`.

function update() {
  const runs = data.runs.filter((run) => passes(run));
  showCounts(runs);
  showFilters();
  byId("ratio").value = state.ratio;
  byId("batch").value = state.batch;
  showTasks(runs, openRun);
  showTable(runs);
  showReported();
  showComparison();
  remember();
}

function sortBy(name) {
  [state.down, state.sort] = [state.sort === name && !state.down, name];
  showTable(data.runs.filter((run) => passes(run)));
  remember();
}

recall();
byId("filters").open = !matchMedia("(max-width: 860px)").matches;
byId("ratio").append(...RATIOS.map((name) => option(name, name)));
byId("batch").append(...SPEEDS.map((name) => option(name, name.replace("speed-up, ", ""))));
for (const which of ["a", "b"]) compareOptions(byId(which));
for (const word of ["ratio", "batch", "lines", "a", "b"])
  byId(word).addEventListener("change", (event) => {
    state[word] = event.target.value;
    update();
  });
buildFilters(update);
buildRun();
showOrigin();
update();
if (state.run) openRun(state.run);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("runs").focus();
});
window.addEventListener("hashchange", () => {
  recall();
  update();
  if (state.run) openRun(state.run);
});
document.documentElement.dataset.ready = "yes";
