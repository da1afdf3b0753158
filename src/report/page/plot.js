// A plot: heading, legend, canvas drawn by Chart.js, note, and the same values as a table.
//
// plot({title, note, height, build}) where build() returns null or a sentence (nothing to draw), or
//   {type, series: [{label, points | values, ink, dash, width, fill, stack, hidden from legend: quiet}],
//    labels (bars), titles (bars: of the tooltip), value: format, tick: format, zero: from 0, max, xTitle,
//    note}

Chart.defaults.animation = false;
Chart.defaults.responsive = true;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.normalized = true;
Chart.defaults.plugins.legend.display = false;
Chart.defaults.elements.point.hitRadius = 6;
Chart.defaults.font.size = 12;

const plots = [];
const PRINT_PIXELS = 3;  // device pixels per CSS pixel on paper

function plot(spec) {
  const p = { spec, hidden: new Set(), chart: null };
  const id = `plot-${plots.length}`;
  p.title = make("h3", { id }, spec.title);
  p.legend = make("ul", { class: "legend" });
  p.canvas = make("canvas", { role: "img", tabindex: "0", "aria-describedby": "chart-help" });
  p.box = make("div", { class: "canvas" }, p.canvas);
  p.box.style.height = `${spec.height || 230}px`;
  p.note = make("figcaption", {});
  p.values = make("details", { class: "values" }, make("summary", {}, "Values as a table"));
  p.values.addEventListener("toggle", () => fillTable(p));
  p.node = make("figure", { class: "plot" + (spec.wide ? " wide" : ""), "aria-labelledby": id }, p.title,
    p.legend, p.box, p.note, p.values);
  readByKeys(p);
  plots.push(p);
  return p;
}

function drawAll(keep) { plots.forEach((p) => draw(p, keep)); }

// keep: the chart that is there, with its marks and tooltip, takes the new data; colours and size are as
// before.
function draw(p, keep = false) {
  const built = p.spec.build();
  const empty = !built || typeof built === "string";
  p.built = empty ? null : built;
  for (const e of [p.box, p.legend, p.values]) e.hidden = empty;
  p.node.classList.toggle("empty", empty);
  p.node.hidden = empty && Boolean(p.spec.optional);
  p.note.textContent = empty ? sentenceFor(built) : built.note || "";
  if (p.chart && (empty || !keep)) {
    p.chart.destroy();
    p.chart = null;
  }
  if (empty) return;
  const config = configOf(p);
  if (p.chart) {
    Object.assign(p.chart, { data: config.data, options: config.options });
    p.chart.update("none");
  } else {
    p.chart = new Chart(p.canvas, config);
  }
  p.canvas.setAttribute("aria-label", describe(p));
  fillLegend(p);
  fillTable(p);
}

function sentenceFor(built) {
  if (!runs.some((r) => stepsOf(r).length)) return "No step is finished yet.";
  return built || "Not recorded in this run.";
}

const PLAIN = {
  borderWidth: 2,
  pointRadius: 0,
  pointHoverRadius: 4,
  tension: 0
};

function datasetOf(p, s, i) {
  const bars = p.built.type === "bar";
  const ink = s.ink || seriesColor(i);
  const few = !bars && s.points.length <= (p.built.marksUpTo ?? 60) && !s.quiet;
  return {
    ...PLAIN,
    clip: 8,
    label: s.label,
    hidden: p.hidden.has(s.label),
    stack: s.stack,
    order: s.order ?? i,
    quiet: s.quiet,
    data: bars ? s.values : s.points,
    borderColor: bars ? "transparent" : ink,
    borderDash: s.dash || [],
    borderWidth: bars ? 0 : s.width ?? 2,
    backgroundColor: s.fill || (bars ? ink : faint(ink, 0.15)),
    fill: s.band ?? false,
    pointRadius: s.marks || few ? (s.points.length > 30 ? 1.5 : 2.5) : 0,
    pointBackgroundColor: ink,
    barPercentage: 1,
    categoryPercentage: p.built.gap ?? 0.94,
  };
}

function configOf(p) {
  const { built } = p;
  const bars = built.type === "bar";
  return {
    type: built.type || "line",
    data: { labels: built.labels, datasets: built.series.map((s, i) => datasetOf(p, s, i)) },
    options: {
      parsing: bars ? undefined : false,
      devicePixelRatio: printing ? PRINT_PIXELS : undefined,
      layout: { padding: { top: 4, right: 10 } },
      interaction: { mode: bars ? "index" : "nearest", axis: "x", intersect: false },
      scales: { x: xAxis(built, bars), y: yAxis(built, bars) },
      plugins: {
        decimation: { enabled: !bars, algorithm: "min-max" },
        tooltip: tooltipOf(built),
      },
    },
  };
}

function xAxis(built, bars) {
  const title = {
    display: true,
    text: built.xTitle || "step",
    align: "end",
    padding: { top: 0 },
    font: { size: 11 }
  };
  if (bars)
    return {
      stacked: Boolean(built.stacked),
      grid: { display: false },
      title,
      ticks: { maxRotation: 0, autoSkipPadding: 14 }
    };
  const [from, to] = built.xTitle ? rangeOf(built.series) : stepRange();
  return {
    type: "linear",
    min: from,
    max: Math.max(to, from + 1),
    title,
    grid: { display: false },
    ticks:
      { maxRotation: 0, autoSkipPadding: 20, precision: 0, includeBounds: false, callback: (v) => number(v) },
  };
}

function yAxis(built, bars) {
  return {
    stacked: bars && Boolean(built.stacked),
    beginAtZero: bars || built.zero,
    max: built.max,
    grid: { drawTicks: false, drawBorder: false },
    grace: built.zero || bars ? 0 : "6%",
    ticks: {
      maxTicksLimit: 6,
      padding: 8,
      callback: (v) => (built.tick || ((n) => number(Number(n.toPrecision(6)))))(v)
    },
  };
}

function tooltipOf(built) {
  const value = built.value || number;
  return {
    filter: (item) => !item.dataset.quiet,
    itemSort: (a, b) => a.datasetIndex - b.datasetIndex,
    boxPadding: 4,
    callbacks: {
      title: (items) => (items.length ? titleAt(built, items[0]) : ""),
      label: (item) => `${item.dataset.label}: ${value(item.parsed.y)}${
        exists(item.raw?.raw) ? ` (itself ${value(item.raw.raw)})` : ""}`,
      labelColor: (item) => {
        const ink = built.type === "bar" ? item.dataset.backgroundColor : item.dataset.borderColor;
        return { borderColor: ink, backgroundColor: ink };
      },
    },
  };
}

function titleAt(built, item) {
  if (built.titles) return built.titles[item.dataIndex];
  return built.xTitle ? `${number(item.parsed.x)} ${built.xTitle}` : `step ${number(item.parsed.x)}`;
}

// All plots over steps have the same axis, from 0 or 1 to the last step of any run.
function stepRange() {
  const ends = runs.map(stepsOf).filter((s) => s.length).map((s) => [s[0], s[s.length - 1]]);
  if (!ends.length) return [0, 1];
  const from = Math.min(...ends.map((e) => e[0]));
  return [from <= 10 ? 0 : from, Math.max(...ends.map((e) => e[1]))];
}

function rangeOf(series) {
  let from = Infinity, to = -Infinity;
  for (const s of series)
    for (const p of s.points) {
      if (p.x < from) from = p.x;
      if (p.x > to) to = p.x;
    }
  return from <= to ? [from, to] : [0, 1];
}

// One line for those who do not see the chart.
function describe(p) {
  const value = p.built.value || number;
  const parts = p.built.series.filter((s) => !s.quiet).map((s) => {
    if (s.values) return `${s.label}: ${value(mean(s.values.filter(exists)))} on average`;
    const [a, b] = [s.points[0], s.points[s.points.length - 1]];
    return a ? `${s.label}: ${value(a.y)} at ${number(a.x)}, ${value(b.y)} at ${number(b.x)}` :
               `${s.label}: no value`;
  });
  return `${p.spec.title}. ${parts.join("; ")}.`;
}

// ---- legend: buttons that hide and show a series

function fillLegend(p) {
  const shown = p.built.series.filter((s) => !s.quiet);
  p.legend.hidden = shown.length < 2 && !several;
  p.legend.replaceChildren(...shown.map((s) => {
    const ink = s.ink || seriesColor(p.built.series.indexOf(s));
    const sign = s.values ? swatch(s.fill || ink) : stroke(ink, s.dash);
    return make("li", {},
      make("button", {
        type: "button",
        class: "key",
        "aria-pressed": String(!p.hidden.has(s.label)),
        onclick: (event) => toggle(p, s.label, event.currentTarget),
      },
        sign, s.label));
  }));
}

function toggle(p, label, button) {
  if (!p.hidden.delete(label)) p.hidden.add(label);
  button.setAttribute("aria-pressed", String(!p.hidden.has(label)));
  p.chart.data.datasets.forEach((d, i) => {
    if (d.label === label) p.chart.setDatasetVisibility(i, !p.hidden.has(label));
  });
  p.chart.update("none");
}

// ---- the values as a table, at most TABLE_ROWS rows

const TABLE_ROWS = 200;

function fillTable(p) {
  if (!p.values.open || !p.built) return;
  const { series, labels, titles, xTitle } = p.built;
  const value = p.built.value || number;
  const shown = series.filter((s) => !s.quiet || s.tabled);
  const rows = labels ?
    labels.map((l, i) => [titles ? titles[i] : String(l), ...shown.map((s) => value(s.values[i]))]) :
    rowsByX(shown, value);
  const every = Math.ceil(rows.length / TABLE_ROWS);
  const kept = rows.filter((_, i) => i % every === 0 || i === rows.length - 1);
  p.values.querySelector(".filled")?.remove();
  p.values.append(make("div", { class: "filled" },
    every > 1 ? make("p", { class: "note" }, `Every ${every}th of ${number(rows.length)} rows.`) : null,
    table(p.spec.title, [xTitle || "step", ...shown.map((s) => s.label)], kept)));
}

function rowsByX(series, value) {
  const all = new Map();
  series.forEach((s, i) => s.points.forEach((p) => {
    if (!all.has(p.x)) all.set(p.x, Array(series.length).fill(DASH));
    all.get(p.x)[i] = value(p.raw ?? p.y);
  }));
  return [...all].sort((a, b) => a[0] - b[0]).map(([x, cells]) => [number(x, 6), ...cells]);
}

// ---- keys: left and right go through the values, Home and End to the ends, Escape leaves

function readByKeys(p) {
  let at = -1;
  const show = (x) => {
    const { chart } = p;
    const near = chart.data.datasets.map((d, i) => [d, i])
                   .filter(([d, i]) => !d.quiet && chart.isDatasetVisible(i))
                   .map(([d, i]) => ({
                     datasetIndex: i,
                     index: chart.config.type === "bar" ? x : d.data.findIndex((q) => q.x === x),
                   }))
                   .filter((a) => a.index >= 0);
    if (!near.length) return;
    const first = chart.getDatasetMeta(near[0].datasetIndex).data[near[0].index];
    chart.setActiveElements(near);
    chart.tooltip.setActiveElements(near, first ? { x: first.x, y: first.y } : { x: 0, y: 0 });
    chart.update("none");
    say([...(chart.tooltip.title || []), ...(chart.tooltip.body || []).flatMap((b) => b.lines)].join(", "));
  };
  const clear = () => {
    at = -1;
    if (!p.chart) return;
    p.chart.setActiveElements([]);
    p.chart.tooltip.setActiveElements([], { x: 0, y: 0 });
    p.chart.update("none");
  };
  p.canvas.addEventListener("blur", clear);
  p.canvas.addEventListener("keydown", (event) => {
    if (!p.chart || event.ctrlKey || event.altKey || event.metaKey) return;
    const stops = stopsOf(p.chart);
    const moves = {
      ArrowRight: at + 1,
      ArrowLeft: at < 0 ? stops.length - 1 : at - 1,
      Home: 0,
      End: stops.length - 1
    };
    if (event.key === "Escape") return clear();
    if (!(event.key in moves) || !stops.length) return;
    event.preventDefault();
    at = Math.min(stops.length - 1, Math.max(0, moves[event.key]));
    show(stops[at]);
  });
}

function stopsOf(chart) {
  if (chart.config.type === "bar") return chart.data.labels.map((_, i) => i);
  const all = new Set();
  chart.data.datasets.forEach((d) => {
    if (!d.quiet) d.data.forEach((q) => all.add(q.x));
  });
  return [...all].sort((a, b) => a - b);
}

function dropPlot(p) {
  plots.splice(plots.indexOf(p), 1);
  if (p.chart) p.chart.destroy();
  p.node.remove();
}
