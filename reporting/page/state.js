// The rows, what is chosen of them, and the address that remembers the choice.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const data = await unpack(byId("data").textContent);
data.runs.forEach((run) => {
  const variant = data.variants[run.variant];
  (variant.runs ??= []).push(run);
  run.words = `${variant.name} ${run.id}`.toLowerCase();
});
data.variants.forEach((variant, index) =>
  Object.assign(variant, { index, ok: variant.runs.filter((run) => run.state === "ok") }),
);

const ERROR = "test error [%]";
const colourOf = (method) => data.methods[method].colour;
const marked = (method) => method + data.methods[method].mark;

// Colours repeat among many methods; with the shape the mark of each is its own.
const OUTLINES = {
  circle: "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z",
  square: "M-4.4-4.4H4.4V4.4H-4.4Z",
  diamond: "M0-6L5 0L0 6L-5 0Z",
  "triangle-up": "M0-5L5.5 4.5H-5.5Z",
  "triangle-down": "M0 5L5.5-4.5H-5.5Z",
  cross: "M-2-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
};
const shapeOf = (method) => data.methods[method].shape;

const FACETS = {
  dataset: (run) => [run.choices.dataset],
  network: (run) => [run.choices.network],
  method: (run) => [run.choices.method],
  status: (run) => [run.state],
  tag: (run) => run.tags,
};

const RATIOS = data.columns.filter((name) => name.endsWith(" ratio"));
const SPEEDS = data.columns.filter((name) => name.startsWith("speed-up"));

const state = {
  chosen: Object.fromEntries(Object.keys(FACETS).map((facet) => [facet, new Set()])),
  text: "",
  ratio: RATIOS[0],
  batch: SPEEDS.at(-1),
  lines: "variants",
  sort: "",
  down: false,
  a: "",
  b: "",
  run: "",
};
const WORDS = ["text", "ratio", "batch", "lines", "sort", "a", "b", "run"];
const PLAIN = { ...state };

// `#dataset=mnist&method=tt&method=svd&run=…`: an address to send.
function remember() {
  const words = new URLSearchParams();
  for (const [facet, values] of Object.entries(state.chosen)) for (const value of values) words.append(facet, value);
  for (const word of WORDS) if (state[word] !== PLAIN[word]) words.set(word, state[word]);
  if (state.down) words.set("down", "1");
  window.history.replaceState(null, "", `#${words}`);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const facet of Object.keys(FACETS)) state.chosen[facet] = new Set(words.getAll(facet));
  for (const word of WORDS) state[word] = words.get(word) ?? PLAIN[word];
  if (!RATIOS.includes(state.ratio)) state.ratio = PLAIN.ratio;
  if (!SPEEDS.includes(state.batch)) state.batch = PLAIN.batch;
  state.down = words.has("down");
}

// Null where a value is not known, or there is none.
const meanOf = (values) =>
  values.length && values.every(Number.isFinite) ? values.reduce((sum, value) => sum + value, 0) / values.length : null;

// Of the uncompressed networks, over all runs that are ok: one for each way in which they were trained.
function referenceErrors(runs) {
  const errors = new Map();
  for (const run of runs.filter((run) => run.state === "ok")) {
    const trained = JSON.stringify([run.config.dataset, run.config.schedule?.reference]);
    errors.set(trained, [...(errors.get(trained) ?? []), run.values["reference error [%]"]]);
  }
  const means = [...errors.values()].map(meanOf).filter((error) => error !== null);
  return [...new Set(means.map((error) => Number(error.toFixed(2))))]; // a recipe may be written in two ways
}

// Whether a run passes the filters; `but` leaves one facet out, for the counts beside its own values.
function passes(run, but = null) {
  return (
    state.text
      .toLowerCase()
      .split(/\s+/)
      .every((word) => run.words.includes(word)) &&
    Object.entries(FACETS).every(([facet, of]) => {
      const chosen = state.chosen[facet];
      return facet === but || !chosen.size || of(run).some((value) => chosen.has(value));
    })
  );
}
