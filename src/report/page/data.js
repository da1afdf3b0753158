// The data of the page: one run, or several to compare. Every part may be missing.

const data = (() => {
  try {
    return JSON.parse(byId("run").textContent) || {};
  } catch (e) {
    return { run: { name: "tlt", notices: ["the data of this page is damaged: " + e.message] } };
  }
})();

const several = Array.isArray(data.runs);
const runs = several ? data.runs : [data];
const list = (v) => (Array.isArray(v) ? v : []);
const columnsOf = (run) => run.columns || {};
const stepsOf = (run) => list(columnsOf(run).step);
const hasKey = (run, key) => list(columnsOf(run)[key]).some(exists);
const valueAt = (run, key, i) => {
  const v = list(columnsOf(run)[key])[i];
  return exists(v) ? v : null;
};
const rowSteps = (run) => Math.max(1, run.thinned || 1);  // steps that a row stands for

// [{x: step, y}] where there is a value. y: a key, or a function of the row's index.
function pointsOf(run, y) {
  const value = typeof y === "function" ? y : (i) => valueAt(run, y, i);
  const out = [];
  stepsOf(run).forEach((x, i) => {
    const v = value(i);
    if (exists(x) && exists(v)) out.push({ x, y: v });
  });
  return out;
}

// Without step 0, the evaluation before training.
const trainingPoints = (run, y) => pointsOf(run, y).filter((p) => p.x > 0);

// Keys with at least one number, without the step and the extremes of thinned rows.
const keysOf = (run) =>
  Object.keys(columnsOf(run)).filter((k) => k !== "step" && !/\|(min|max)$/.test(k) && hasKey(run, k));

// Keys PREFIX/NAME/REST..., as [[name, rest], ...].
const under = (run, prefix) => Object.keys(columnsOf(run))
                                 .filter((k) => k.startsWith(prefix + "/"))
                                 .map((k) => k.slice(prefix.length + 1).split("/"));

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const total = (values) => values.reduce((a, b) => a + (exists(b) ? b : 0), 0);

// Means over the first and the last tenth of the steps that have the key.
function tenths(run, key) {
  const all = trainingPoints(run, key);
  if (!all.length) return null;
  const n = Math.max(1, Math.floor(all.length / 10));
  const of = (part) => mean(part.map((p) => p.y));
  return { first: of(all.slice(0, n)), last: of(all.slice(-n)), steps: n * rowSteps(run), rows: all.length };
}

// Mean over a window around each point. A long noisy curve is read by it.
const SMOOTH_FROM = 150;
const windowOf = (n) => (n > SMOOTH_FROM ? 2 * Math.round(n / 120) + 1 : 1);

function smoothed(points, width = windowOf(points.length)) {
  if (width === 1) return points;
  const half = (width - 1) / 2;
  const sums = [0];
  for (const p of points) sums.push(sums[sums.length - 1] + p.y);
  return points.map((p, i) => {
    const [from, to] = [Math.max(0, i - half), Math.min(points.length, i + half + 1)];
    return { x: p.x, y: (sums[to] - sums[from]) / (to - from), raw: p.y };
  });
}

// Live: one more line of metrics.jsonl. A run that went back to a checkpoint repeats steps.
const ROWS_MAX = 6000;

function appendLine(line) {
  if (!exists(line.step)) return;
  data.columns = columnsOf(data);
  const c = data.columns;
  c.step = list(c.step);
  while (c.step.length && c.step[c.step.length - 1] >= line.step) Object.values(c).forEach((v) => v.pop());
  const rows = c.step.length;
  for (const [key, value] of Object.entries(line)) {
    if (!exists(value)) continue;
    if (!Object.hasOwn(c, key))
      Object.defineProperty(c, key, { value: Array(rows).fill(null), enumerable: true });
    c[key][rows] = value;
  }
  for (const v of Object.values(c))
    if (v.length === rows) v.push(null);
  if (rows > ROWS_MAX) thinOldRows(c, rows);
}

// Every second of the older rows goes, where it holds no evaluation.
function thinOldRows(c, rows) {
  const keep = (v, i) => i > rows / 2 || i % 2 === 0 || exists(list(c["eval/accuracy"])[i]);
  const kept = Object.entries(c).map(([key, v]) => [key, v.filter(keep)]);
  for (const [key, v] of kept)
    Object.defineProperty(c, key, { value: v, enumerable: true, configurable: true });
}
