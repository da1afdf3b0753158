// Several runs side by side: a table made by tlt compare, and the same plots with a line per run.

const COMPARED = [
  ["Reward", "reward/mean"],
  ["Evaluation accuracy", "eval/accuracy", { value: (v) => percent(v), tick: percentTick }],
  ["Answer length, mean", "completions/mean_length", { zero: true }],
  ["Entropy", "entropy"],
  ["Acceptance length", "spec/accept_length"],
  ["Seconds per step", "time/step", { zero: true, value: seconds }],
  ["Idle share", "workers/idle_fraction", { zero: true, value: (v) => percent(v), tick: percentTick }],
  ["Generation, tokens per second", "time/rollout_tokens_per_second", { zero: true }],
];

const runName = (r) => visible((r.run && (r.run.name || r.run.path)) || "run");

// Names of runs, made different where two are the same.
function runLabels() {
  const names = runs.map(runName);
  return names.map((n, i) => (names.indexOf(n) === names.lastIndexOf(n) ? n : `${n} (${i + 1})`));
}

function comparePlot(title, key, options = {}) {
  const labels = runLabels();
  return plot({
    title,
    build: () => {
      const series = runs
                       .map((r, i) => ({
                         label: labels[i],
                         points: smoothed(pointsOf(r, key)),
                         ink: seriesColor(i),
                         dash: DASHES[i % DASHES.length],
                         order: runs.length - i
                       }))
                       .filter((s) => s.points.length);
      return series.length ? { series, marksUpTo: 12, ...options } : "Not recorded in these runs.";
    },
  });
}

function compareTable() {
  const { head, rows } = data.compare || {};
  if (!list(rows).length) return make("p", { class: "note" }, "Nothing to compare.");
  return table("The runs side by side", list(head).map((h) => foreign(h)),
    rows.map((r) => list(r).map((c) => foreign(c))), [0], { class: "compare" });
}
