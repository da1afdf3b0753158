// The timeline of one step: what each worker did when, and below it, on the same time axis, how many
// sequences it decoded and how many tokens each gave per step. Bars by Chart.js; pointer and keys choose a
// span.

const AXIS_WIDTH = 84;  // of the left axis of all three charts, so that their times line up
const LINES_MAX = 8;    // workers with a curve of their own

const timeline = {
  step: null,
  from: 0,
  to: 1,
  chosen: null,
  charts: [],
  follow: data.live === true
};
const kept = (step) =>
  list(((data.timeline || {}).data || {})[step]).filter((w) => w && Array.isArray(w.spans));
const keptSteps = () => list((data.timeline || {}).steps).filter((s) => kept(s).length);
const isSpan = (s) => Array.isArray(s) && exists(s[0]) && exists(s[1]) && typeof s[2] === "string";
const timelineOf = (step) => kept(step).map(
  (w) => ({...w, spans: w.spans.filter(isSpan), points: list(w.points).filter(Array.isArray) }));

function timelineSection() {
  if (!keptSteps().length && !data.live)
    return make("p", { class: "note" }, "No step's timeline was kept (trace.json).");
  const t = timeline;
  t.select = make("select", { id: "timeline-step", onchange: () => chooseStep(Number(t.select.value)) });
  const button = (label, title, onclick) =>
    make("button", { type: "button", title, "aria-label": title, onclick }, label);
  t.previous = button("◀", "previous step", () => moveStep(-1));
  t.next = button("▶", "next step", () => moveStep(1));
  t.legend = make("ul", { class: "legend still" });
  t.lines = make("ul", { class: "legend still" });
  t.summary = make("p", { class: "note" });
  t.detail = make("p", { class: "detail" });
  t.bars = timelineCanvas(
    "What each worker did when. Left and right choose a span, up and down a worker, plus and minus zoom.");
  t.sequences = timelineCanvas("Sequences being decoded, by worker, over the time of the step.");
  t.accepted = timelineCanvas("Tokens per sequence and decode step, by worker, over the time of the step.");
  t.table =
    make("details", { class: "values" }, make("summary", {}, "Seconds by worker and state as a table"));
  t.table.addEventListener("toggle", fillTimelineTable);
  t.bars.canvas.tabIndex = 0;
  watchBars(t.bars.canvas);
  t.node = make("figure", { class: "plot timeline" },
    make("div", { class: "controls" }, make("label", { "for": "timeline-step" }, "Step"), t.previous,
      t.select, t.next, make("span", { class: "spacer" }), button("−", "zoom out", () => zoom(2)),
      button("+", "zoom in", () => zoom(0.5)), button("All", "show the whole step", () => zoom(Infinity))),
    t.legend, t.bars.box, t.detail, make("h3", {}, "Sequences being decoded"), t.lines, t.sequences.box,
    make("h3", {}, "Tokens per sequence and decode step"), t.accepted.box, t.summary, t.table);
  fillStepList();
  return t.node;
}

function timelineCanvas(label) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  return { canvas, box: make("div", { class: "canvas" }, canvas) };
}

function fillStepList() {
  const t = timeline;
  const steps = keptSteps();
  const last = steps[steps.length - 1];
  if (t.step === null || t.follow || !steps.includes(t.step)) t.step = last ?? null;
  t.select.replaceChildren(
    ...steps.map((s) => make("option", { value: s, selected: s === t.step }, number(s))));
  t.previous.disabled = !steps.length || t.step === steps[0];
  t.next.disabled = !steps.length || t.step === last;
}

function chooseStep(step) {
  timeline.step = step;
  timeline.chosen = null;
  timeline.follow = data.live === true && step === keptSteps().at(-1);
  fillStepList();
  drawTimeline(true);
}

function moveStep(by) {
  const steps = keptSteps();
  const to = steps[steps.indexOf(timeline.step) + by];
  if (to !== undefined) chooseStep(to);
}

// ---- drawing

function drawTimeline(whole = false) {
  const t = timeline;
  if (!t.node) return;
  t.charts.forEach((c) => c.destroy());
  t.charts = [];
  t.workers = t.step === null ? [] : timelineOf(t.step);
  t.node.hidden = !t.workers.length;
  if (!t.workers.length) return;
  t.end = Math.max(...t.workers.map((w) => Math.max(w.seconds || 0, ...w.spans.map((s) => s[1]))), 1e-6);
  if (whole || t.to > t.end || t.whole !== false) [t.from, t.to, t.whole] = [0, t.end, true];
  const row = Math.max(12, Math.min(34, 420 / t.workers.length));
  t.bars.box.style.height = `${row * t.workers.length + 48}px`;
  t.sequences.box.style.height = "120px";
  t.accepted.box.style.height = "140px";
  const last = {
    bars: barsChart(),
    sequences: curveChart(t.sequences, 1, true),
    accepted: curveChart(t.accepted, 2, false)
  };
  t.charts = Object.values(last);
  t.barsChart = last.bars;
  fillStateLegend();
  showDetail();
  t.summary.textContent = summaryOf(t.workers);
  fillTimelineTable();
}

const axisOfTime = (title) => ({
  type: "linear",
  min: timeline.from,
  max: timeline.to,
  grid: { drawBorder: false, drawTicks: false },
  title: { display: title, text: "seconds of the step", align: "end", font: { size: 11 } },
  ticks: {
    maxRotation: 0,
    autoSkipPadding: 24,
    includeBounds: false,
    callback: (v) => number(Number(v.toPrecision(6)))
  },
});
const fixedAxis = (axis) => {
  axis.width = AXIS_WIDTH;
};
const workerName = (w) => `worker ${w.worker}`;

function barsChart() {
  const t = timeline;
  const names = t.workers.map(workerName);
  const states = Object.keys(STATES).filter((s) => t.workers.some((w) => w.spans.some((x) => x[2] === s)));
  const shown = (s) => t.workers.flatMap((w) => w.spans.filter((x) => (x[2] in STATES ? x[2] : "other") === s)
                                                  .map((x) => ({ x: [x[0], x[1]], y: workerName(w) })));
  return new Chart(t.bars.canvas, {
    type: "bar",
    data: {
      labels: names,
      datasets: states.map((s) => ({
        label: s,
        data: shown(s),
        backgroundColor: stateFill(s),
        grouped: false,
        borderWidth: 0,
        barPercentage: 0.84,
        categoryPercentage: 1
      }))
    },
    options: {
      indexAxis: "y",
      events: [],
      devicePixelRatio: printing ? PRINT_PIXELS : undefined,
      layout: { padding: { right: 10 } },
      scales: {
        x: axisOfTime(false),
        y: { afterFit: fixedAxis, grid: { display: false }, ticks: { autoSkip: true, font: { size: 12 } } }
      },
      plugins: { tooltip: { enabled: false } },
    },
    plugins: [{ id: "chosen", afterDatasetsDraw: outlineChosen }],
  });
}

function outlineChosen(chart) {
  const { chosen, workers } = timeline;
  if (!chosen || !workers[chosen.worker]) return;
  const [begin, end] = workers[chosen.worker].spans[chosen.span];
  const { x, y } = chart.scales;
  const height = (y.height / workers.length) * 0.84;
  const [a, b] = [x.getPixelForValue(begin), x.getPixelForValue(end)];
  const g = chart.ctx;
  g.save();
  g.strokeStyle = dark ? "#fff" : "#000";
  g.lineWidth = 2;
  g.strokeRect(a - 1, y.getPixelForValue(chosen.worker) - height / 2, Math.max(3, b - a + 2), height);
  g.restore();
}

function curveChart(place, column, whole) {
  const t = timeline;
  const many = t.workers.length > LINES_MAX;
  const line = (w, i) => ({
    label: workerName(w),
    stepped: whole && "before",
    borderWidth: many ? 1 : 2,
    pointRadius: 0,
    borderColor: many ? faint(color("blue"), 0.5) : seriesColor(i),
    borderDash: many ? [] : DASHES[i % DASHES.length],
    data: curveOf(w, column, whole ? 0 : NaN),
  });
  return new Chart(place.canvas, {
    type: "line",
    data: { datasets: t.workers.map(line) },
    options: {
      parsing: false,
      devicePixelRatio: printing ? PRINT_PIXELS : undefined,
      layout: { padding: { right: 10, top: 4 } },
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: axisOfTime(!whole),
        y: {
          afterFit: fixedAxis,
          beginAtZero: true,
          ticks: { maxTicksLimit: 5, padding: 8, precision: whole ? 0 : undefined },
          grid: { drawBorder: false, drawTicks: false }
        }
      },
      plugins: {
        tooltip: {
          callbacks: {
            title: (items) => (items.length ? `${items[0].parsed.x.toFixed(3)} s` : ""),
            label: (item) => `${item.dataset.label}: ${number(item.parsed.y, 3)}`
          }
        },
      },
    },
  });
}

// Stretches in which a worker decoded, for a rollout or an evaluation.
const PAUSE_SECONDS = 0.002;  // shorter ones are not worth a gap

function decodingOf(w) {
  const out = [];
  for (const [begin, end, state] of w.spans) {
    if (state !== "decoding" && state !== "eval") continue;
    if (out.length && begin - out[out.length - 1][1] < PAUSE_SECONDS)
      out[out.length - 1][1] = end;
    else
      out.push([begin, end]);
  }
  return out;
}

// The points of a worker inside these stretches, with a value for the time between them: a point that gathers
// several engine steps can begin before its stretch.
function curveOf(w, column, between) {
  const out = [];
  const points = list(w.points).filter((p) => p[1] > 0);
  let before = -1;
  for (const [begin, end] of decodingOf(w)) {
    const inside = points.filter((p) => p[0] >= before && p[0] < end);
    before = end;
    if (!inside.length) continue;
    const values = inside.map((p) => ({ x: Math.max(begin, p[0]), y: p[column] }));
    out.push({ x: begin, y: between }, { x: begin, y: values[0].y }, ...values,
      { x: end, y: values[values.length - 1].y }, { x: end, y: between });
  }
  return out;
}

function fillStateLegend() {
  const sums = sumsByState(timeline.workers);
  timeline.legend.replaceChildren(...Object.keys(STATES)
                                    .filter((s) => sums[s] > 0)
                                    .map((s) => make("li", { title: STATES[s].about }, swatch(stateFill(s)),
                                           s, make("span", { class: "soft" }, seconds(sums[s])))));
  const shown = timeline.workers.length > 1 && timeline.workers.length <= LINES_MAX ? timeline.workers : [];
  timeline.lines.replaceChildren(
    ...shown.map((w, i) => make("li", {}, stroke(seriesColor(i), DASHES[i % DASHES.length]), workerName(w))));
}

function sumsByState(workers) {
  const sums = {};
  for (const w of workers)
    for (const [begin, end, state] of w.spans) sums[state] = (sums[state] || 0) + end - begin;
  return sums;
}

// The long tail in words: from when on workers ran out of sequences, and what they did then.
function summaryOf(workers) {
  const lastDecoding = (w) => Math.max(0, ...w.spans.filter((s) => s[2] === "decoding").map((s) => s[1]));
  const ends = workers.map(lastDecoding).filter((e) => e > 0);
  if (ends.length < 2) return "";
  const [first, last] = [Math.min(...ends), Math.max(...ends)];
  const filled = {};
  for (const w of workers)
    for (const [begin, end, state] of w.spans) {
      const part = Math.min(end, last) - Math.max(begin, lastDecoding(w));
      if (part > 0 && state !== "decoding") filled[state] = (filled[state] || 0) + part;
    }
  const parts =
    Object.entries(filled).filter(([, s]) => s > 0.0005).sort((a, b) => b[1] - a[1]).map(([state,
      s]) => `${state} ${seconds(s)}`);
  return `The first worker had decoded its last answer after ${seconds(first)}, the last one after ${
           seconds(last)}. ` +
    (parts.length ? `In between, workers without an answer to decode spent: ${parts.join(", ")}.` : "");
}

function fillTimelineTable() {
  const t = timeline;
  if (!t.table.open || !t.workers) return;
  const states = Object.keys(STATES).filter((s) => sumsByState(t.workers)[s] > 0);
  t.table.querySelector(".filled")?.remove();
  t.table.append(make("div", { class: "filled" },
    table(`Seconds by worker and state, step ${t.step}`, ["", ...states],
      t.workers.map((w) => [workerName(w), ...states.map((s) => seconds(sumsByState([w])[s] || 0))]))));
}
