// Key figures and tables: seconds by state, what was saved, configuration, machine, hashes.

function figures() {
  const items = [
    rewardFigure(), accuracyFigure(), lengthFigure(), acceptanceFigure(), stepFigure(), idleFigure(),
    ...savedFigures()
  ].filter(Boolean);
  return items.length ?
    make("dl", { class: "figures" },
      items.map(([label, value, about]) => make("div", {}, make("dt", {}, label),
                  make("dd", { class: "value" }, value), make("dd", { class: "soft" }, about)))) :
    make("p", { class: "note" }, "No step is finished yet.");
}

const ofSteps = (t) => (t.rows < 2 ? "" :
    t.steps > 1                    ? `mean of the first and of the last ${number(t.steps)} steps` :
                                     "first and last step");
const change = (t, format) => (t.rows < 2 ? format(t.last) : `${format(t.first)} → ${format(t.last)}`);
const short = (v) => number(v, 3);

function rewardFigure() {
  const t = tenths(run, "reward/mean");
  return t && ["Reward", change(t, short), ofSteps(t)];
}

function accuracyFigure() {
  const all = pointsOf(run, "eval/accuracy");
  if (!all.length) return null;
  const last = all[all.length - 1];
  const at = stepsOf(run).indexOf(last.x);
  const [low, high] = ["eval/accuracy_low", "eval/accuracy_high"].map((key) => valueAt(run, key, at));
  const interval = low !== null && high !== null ? `95 %: ${(100 * low).toFixed(1)} to ${percent(high)}` : "";
  return [
    "Evaluation accuracy", percent(last.y),
    [interval, all.length > 1 ? `${percent(all[0].y)} at step ${number(all[0].x)}` : ""].filter(Boolean).join(
      "; ")
  ];
}

function lengthFigure() {
  const t = tenths(run, "completions/mean_length");
  return t && ["Answer length", change(t, (v) => number(Math.round(v))), "tokens, mean"];
}

function acceptanceFigure() {
  const t = tenths(run, "spec/accept_length");
  return t && ["Acceptance length", change(t, (v) => v.toFixed(2)), "tokens per sequence and decode step"];
}

function stepFigure() {
  const t = tenths(run, "time/step");
  return t && ["Time per step", change(t, seconds), "mean of the same steps"];
}

function idleFigure() {
  const all = trainingPoints(run, "workers/idle_fraction");
  return all.length ? ["Idle share", percent(mean(all.map((p) => p.y))), "of the workers' time, whole run"] :
                      null;
}

const savedRows = () => list(data.saved).filter((s) => s && s.what);

function savedFigures() {
  return savedRows()
    .filter((s) => exists(s.seconds))
    .map(
      (s) => [`Saved by ${visible(s.what)}`, seconds(s.seconds),
        make("a", { href: "#saved" }, exists(s.share) ? `${percent(s.share)}, an estimate` : "an estimate")]);
}

// ---- seconds by state

function phasesTable() {
  const { phases } = data;
  const rows = list(phases && phases.rows)
                 .filter((r) => r && exists(r.seconds) && r.seconds > 0)
                 .sort((a, b) => b.seconds - a.seconds);
  if (!rows.length) return make("p", { class: "note" }, "The seconds by state were not recorded.");
  const last = phases.last && list(phases.last.rows).length ? phases.last : null;
  const lastOf = (name) => (last ? last.rows.find((r) => r.name === name) : null);
  const head = ["state", "what it is", "seconds", "share"];
  if (last) head.push(`share, ${stepsText(...last.steps)}`);
  return [
    table("Seconds by state", head,
      rows.map((r) => [make("span", { class: "state-name" }, swatch(stateFill(r.name)), visible(r.name)),
                 stateOf(r.name).about,
                 secondsPlain(r.seconds),
                 bar(r.share, r.name),
                 ...(last ? [bar(lastOf(r.name)?.share, r.name)] : []),
  ]),
      [0, 1], { class: "phases" }),
    make("p", { class: "note" },
      `Summed over workers${list(phases.steps).length ? ", " + stepsText(...phases.steps) : ""}.`),
  ];
}

function bar(share, name) {
  if (!exists(share)) return DASH;
  const fill = make("span", { class: "fill" });
  fill.style.width = `${(100 * Math.min(1, share)).toFixed(1)}%`;
  fill.style.background = color(stateOf(name).hue);
  return make("span", { class: "share" }, make("span", { class: "track", "aria-hidden": "true" }, fill),
    percent(share));
}

function savedTable() {
  const rows = savedRows();
  if (!rows.length)
    return make("p", { class: "note" }, "What speculation and idle work saved is not known for this run.");
  return [
    table("What speculation and idle work saved", ["by", "time", "share", "how this is estimated"],
      rows.map((s) => [visible(s.what), exists(s.seconds) ? seconds(s.seconds) : "not known",
                 percent(s.share), visible(s.method || "")]),
      [0, 3], { class: "saved" }),
    asLoaded(),
  ];
}

// Of a live page: what does not change with the events.
const loadedAt = (data.run || {}).step;
const asLoaded = () => data.live === true ?
  make("p", { class: "note" }, `As of step ${number(loadedAt)}; load the page again for what came later.`) :
  null;

// ---- energy and cost: means per step, of all steps and of the last tenth

const COSTS = [
  ["cost/cpu_seconds", "processor time", seconds],
  ["cost/cpu_seconds_per_token", "processor time per generated token", seconds],
  ["cost/cpu_seconds_per_accepted_token", "processor time per accepted draft token", seconds],
  ["cost/joules", "energy", (v) => `${number(v)} J`],
  ["cost/core_hours", "core-hours", short],
  ["cost/price", "price", (v) => `${number(v)} ${visible(setting("cost.currency") || "")}`],
];
const setting = (key) => (list(data.config).find((c) => Array.isArray(c) && c[0] === key) || [])[1];

function costTable() {
  const rows = COSTS
                 .map(([key, label, format]) => {
                   const all = trainingPoints(run, key).map((p) => p.y);
                   return all.length ? [label, format(mean(all)), format(tenths(run, key).last)] : null;
                 })
                 .filter(Boolean);
  if (!rows.length) return make("p", { class: "note" }, "Processor time and energy were not recorded.");
  return [
    table("Energy and cost of a step", ["of a step, mean", "all steps", "last tenth"], rows),
    hasKey(run, "cost/joules") ?
      null :
      make("p", { class: "note" },
        "Energy: not available, since the kernel shows no counters of the processor (RAPL) here."),
  ];
}

// ---- configuration, machine, hashes

function pairs(caption, rows, missing) {
  const there = list(rows).filter(Array.isArray);
  if (!there.length) return make("p", { class: "note" }, missing);
  return make("div", { class: "pairs" },
    make("dl", { "aria-label": caption },
      there.map(
        ([name, value]) => make("div", {}, make("dt", {}, foreign(name)),
          make("dd", {}, foreign(typeof value === "string" ? value : JSON.stringify(value) ?? ""))))));
}

function hashesTable() {
  const rows = list(data.hashes).filter(Array.isArray);
  if (!rows.length) return make("p", { class: "note" }, "No hashes were recorded.");
  const code = (h) => make("code", { class: "hash" }, visible(h || DASH));
  return table("Hashes of the last steps", ["step", "weights", "rollout"],
    rows.map(([step, weights, rollout]) => [number(step), code(weights), code(rollout)]), [0, 1, 2],
    { class: "hashes" });
}
