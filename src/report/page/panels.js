// The plots of a run: what is drawn from which keys of metrics.jsonl.

const run = runs[0];

// A curve; a long one as its mean over a window, above the raw one or above the extremes of thinned rows.
function curve(key, label, options = {}) {
  const points = options.training ? trainingPoints(run, key) : pointsOf(run, key);
  if (!points.length) return [];
  const width = windowOf(points.length);
  const main = { label, points: smoothed(points, width), ...options };
  if (width === 1) return [main];
  return [main, ...background(key, points, options.ink || seriesColor(0))];
}

function background(key, raw, ink) {
  const low = pointsOf(run, key + "|min");
  const high = pointsOf(run, key + "|max");
  const quiet = { quiet: true, width: 0, order: 10, ink };
  if (low.length < 2) return [{...quiet, label: "each row", points: raw, width: 1, ink: faint(ink, 0.28) }];
  return [
    {...quiet, label: "least", points: low },
    {...quiet, label: "most", points: high, band: "-1", fill: faint(ink, 0.14) }
  ];
}

// What the eye needs to know about smoothing and thinning.
function curveNote(key, text = "") {
  const n = pointsOf(run, key).length;
  const width = windowOf(n) * rowSteps(run);
  const notes = [];
  if (windowOf(n) > 1)
    notes.push(
      `The line is the mean of ${width} steps${hasKey(run, key + "|min") ? ", the band the extremes" : ""}.`);
  if (text) notes.unshift(text);
  return notes.join(" ");
}

// A plot of one key.
const single = (title, key, options = {}) => plot({
  title,
  optional: options.optional,
  build: () => {
    const series = curve(key, options.label || title.toLowerCase(), { training: options.training });
    return series.length ? { series, ...options, note: curveNote(key, options.note) } : null;
  },
});

// A plot of several keys with lines of their own; long ones smoothed.
const multiple = (title, parts, options = {}) => plot({
  title,
  optional: options.optional,
  build: () => {
    const there = parts.filter(([key]) => hasKey(run, key));
    if (!there.length) return options.missing || null;
    if (options.allZero && there.every(([key]) => pointsOf(run, key).every((p) => p.y === 0)))
      return options.allZero;
    const series = there.map(
      ([key, label, look]) => ({ label, points: smoothed(pointsOf(run, key)), ...(look ? look() : {}) }));
    return { series, ...options, note: curveNote(there[0][0], options.note) };
  },
});

function learningPlots() {
  return [
    single("Reward", "reward/mean", { label: "mean reward", note: "Mean over the answers of a step." }),
    plot({ title: "Evaluation accuracy", build: buildAccuracy }),
    multiple("Answer length",
      [
        ["completions/p50_length", "median", () => ({ ink: shade("blue", 3, 4) })],
        ["completions/p90_length", "90 %", () => ({ ink: shade("blue", 2, 4) })],
        ["completions/p99_length", "99 %", () => ({ ink: shade("blue", 1, 4) })],
        ["completions/max_length", "longest", () => ({ ink: color("grey"), dash: [2, 3], width: 1.5 })],
        ["completions/mean_length", "mean", () => ({ ink: color("vermillion"), dash: [7, 3] })],
      ],
      {
        zero: true,
        value: (v) => `${number(v)} tokens`,
        note: "Tokens of an answer: percentiles over the answers of a step."
      }),
    single("Entropy", "entropy", {
      label: "entropy",
      value: (v) => `${number(v)} nats`,
      note: "Nats per token at the sampling temperature."
    }),
    multiple(
      "KL divergence", [["kl", "to the first model"], ["update/approx_kl", "to the policy that sampled"]], {
        zero: true,
        note: "Nats per token.",
        allZero: "0 in every step: no KL in the loss, and one optimizer step per rollout."
      }),
    multiple("Clipped tokens",
      [
        ["clip_ratio/low_mean", "ratio too low"],
        ["clip_ratio/high_mean", "ratio too high"],
        ["clip_ratio/region_mean", "either"],
      ],
      {
        zero: true,
        value: (v) => percent(v, 3),
        tick: percentTick,
        allZero: "0 in every step: with one optimizer step per rollout the ratio is 1 and nothing is clipped."
      }),
  ];
}

function buildAccuracy() {
  const points = pointsOf(run, "eval/accuracy");
  if (!points.length) return "No evaluation in this run (eval.every).";
  const ink = color("green");
  const quiet = { quiet: true, width: 0, ink, tabled: true };
  return {
    series: [
      { label: "accuracy", points, ink, marks: true },
      {...quiet, label: "lower end", points: pointsOf(run, "eval/accuracy_low"), order: 5 },
      {
        ...quiet,
        label: "upper end",
        points: pointsOf(run, "eval/accuracy_high"),
        order: 5,
        band: "-1",
        fill: faint(ink, 0.18)
      },
    ],
    value: (v) => percent(v),
    tick: percentTick,
    note: "Held-back problems; the band is the 95 % interval.",
  };
}

// ---- speculation

function speculationPlots() {
  return [
    plot({ title: "Acceptance length by source", build: () => buildParts("source") }),
    plot({ title: "Acceptance length by depth", build: () => buildParts("depth") }),
    plot({ title: "Accepted share of guesses by depth", build: buildByDepth, optional: true }),
    multiple("Acceptance length with and without a draft",
      [["spec/accept_length_drafted", "sequences with a draft"], ["spec/accept_length", "all sequences"]],
      { optional: true, note: "Tokens per sequence and decode step." }),
  ];
}

const SOURCE_ORDER = ["suffix", "eagle", "both"];
const DEPTHS =
  [["1", 1, 1], ["2", 2, 2], ["3", 3, 3], ["4 to 5", 4, 5], ["6 to 8", 6, 8], ["9 and more", 9, Infinity]];
const depthNumber = (d) => parseInt(d, 10);

// [source, depth] that a run counted, sources in a fixed order.
const countedParts = () => under(run, "spec/accepted")
                             .filter((p) => p.length === 2)
                             .sort((a, b) => SOURCE_ORDER.indexOf(a[0]) - SOURCE_ORDER.indexOf(b[0]) ||
                                 depthNumber(a[1]) - depthNumber(b[1]));

// What the accepted tokens of some parts add to the length: their share of all accepted tokens times (length
// - 1).
function addedBy(parts, all, i) {
  const length = valueAt(run, "spec/accept_length", i);
  if (length === null) return null;
  const of = (some) => total(some.map((p) => valueAt(run, `spec/accepted/${p.join("/")}`, i)));
  const accepted = of(all);
  return accepted > 0 ? (of(parts) / accepted) * (length - 1) : 0;
}

function buildParts(by) {
  if (!hasKey(run, "spec/accept_length")) return "No speculation in this run (speculation.draft).";
  const parts = countedParts();
  const sources = [...new Set(parts.map((p) => p[0]))];
  const groups = by === "source" ?
    sources.map((s) => [s, parts.filter((p) => p[0] === s), color(SOURCE_HUES[s])]) :
    DEPTHS.map(
      ([label, from, to],
        i) => [`depth ${label}`, parts.filter((p) => depthNumber(p[1]) >= from && depthNumber(p[1]) <= to),
        shade("green", DEPTHS.length - 1 - i, DEPTHS.length)]);
  const bars = barsOver(stepsOf(run));
  const there = groups.filter((g) => g[1].length);
  return {
    type: "bar",
    stacked: true,
    ...bars,
    value: (v) => number(v, 3),
    series: [
      {
        label: "target alone",
        values: bars.means((i) => (valueAt(run, "spec/accept_length", i) === null ? null : 1)),
        ink: color("pale"),
        stack: "all"
      },
      ...there.map(([label, some, ink]) =>
                     ({ label, values: bars.means((i) => addedBy(some, parts, i)), ink, stack: "all" })),
    ],
    note:
      "Tokens per sequence and decode step: one from the target, and what accepted guesses add. " + bars.note,
  };
}

function buildByDepth() {
  const parts = countedParts();
  const sources = [...new Set(parts.map((p) => p[0]))];
  const sum = (what, s, d) => total(list(columnsOf(run)[`spec/${what}/${s}/${d}`]));
  const series =
    sources
      .map((s, i) => ({
        label: s,
        ink: color(SOURCE_HUES[s]),
        dash: DASHES[i],
        marks: true,
        points:
          parts.filter((p) => p[0] === s && sum("drafted", s, p[1]) > 0)
            .map((p) => ({ x: depthNumber(p[1]), y: sum("accepted", s, p[1]) / sum("drafted", s, p[1]) })),
      }))
      .filter((s) => s.points.length);
  return series.length ? {
    series,
    zero: true,
    max: 1,
    value: (v) => percent(v),
    tick: percentTick,
    xTitle: "depth",
    note: "Accepted of the drafted nodes, whole run."
  } :
                         null;
}

// ---- time

// At most BARS bars over the rows: labels, and means(f) of a value per row over the rows of each bar.
const BARS = 80;

function barsOver(steps) {
  const width = barWidth((steps[steps.length - 1] - steps[0] + 1) / BARS);
  const bars = [];  // rows of each: those up to a multiple of the width
  steps.forEach((step, i) => {
    const to = Math.ceil(step / width) * width || (width > 1 ? width : 0);
    if (!bars.length || bars[bars.length - 1].to !== to) bars.push({ to, rows: [] });
    bars[bars.length - 1].rows.push(i);
  });
  return {
    labels: bars.map((b) => number(b.to)),
    titles: bars.map((b) => stepsText(Math.max(b.to - width + 1, Math.min(steps[0], b.to)), b.to)),
    gap: bars.length > 40 ? 1 : 0.9,
    means: (f) => bars.map((b) => mean(b.rows.map(f).filter(exists))),
    note: width > 1 ? `A bar is the mean of ${number(width)} steps.` : "",
  };
}

// The next of 1, 2, 5, 10, 20, 50, ... that is at least as large, and no row wider than its bar.
function barWidth(least) {
  const at = Math.max(least, rowSteps(run));
  const power = 10 ** Math.floor(Math.log10(Math.max(1, at)));
  return [1, 2, 5, 10].map((m) => m * power).find((w) => w >= at - 1e-9);
}

const PHASE_KEYS = [
  ["time/rollout", "rollout", "blue"], ["time/update", "update", "purple"],
  ["time/eval", "evaluation", "sky"], ["time/save", "saving", "brown"]
];

function timePlots() {
  return [
    plot({ title: "Seconds per step by state", build: buildStates, wide: true, height: 270 }),
    single("Idle share", "workers/idle_fraction", {
      label: "idle share",
      training: true,
      zero: true,
      value: (v) => percent(v),
      tick: percentTick,
      note: "Share of the workers' time without work: idle, waiting for scores or for each other."
    }),
    single("Generation", "time/rollout_tokens_per_second", {
      label: "tokens per second",
      zero: true,
      value: (v) => `${number(v)} tokens/s`,
      note: "Generated tokens per second of the rollout."
    }),
  ];
}

function buildStates() {
  const bars = barsOver(stepsOf(run));
  const there = Object.keys(STATES).filter((s) => list(columnsOf(run)[`workers/${s}`]).some((v) => v > 0));
  const workers = (i) => valueAt(run, "workers/count", i) || 1;
  const per = (s) => (i) => {
    const v = valueAt(run, `workers/${s}`, i);
    return v === null ? null : v / workers(i);
  };
  const series = there.length ?
    there.map((s) => ({ label: s, values: bars.means(per(s)), fill: stateFill(s), stack: "all" })) :
    PHASE_KEYS.filter(([key]) => hasKey(run, key)).map(([key, label,
      hue]) => ({ label, values: bars.means((i) => valueAt(run, key, i)), ink: color(hue), stack: "all" }));
  if (!series.length) return null;
  return {
    type: "bar",
    stacked: true,
    ...bars,
    series,
    value: seconds,
    tick: (v) => `${number(v)} s`,
    note: (there.length ? "Mean over workers; hatched: no work. " : "") + bars.note
  };
}
