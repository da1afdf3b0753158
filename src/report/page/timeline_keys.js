// Pointer and keys in the timeline: choosing a span, zooming.

function watchBars(canvas) {
  canvas.addEventListener("pointermove", (event) => choose(spanAt(event)));
  canvas.addEventListener("pointerdown", (event) => choose(spanAt(event)));
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) choose(null);
  });
  canvas.addEventListener("focus", () => {
    if (!timeline.chosen) choose(firstShown(0));
  });
  canvas.addEventListener("blur", () => choose(null));
  canvas.addEventListener("keydown", keyOnBars);
}

function spanAt(event) {
  const { barsChart: chart, workers } = timeline;
  if (!chart) return null;
  const { x, y } = chart.scales;
  const worker = Math.floor(((event.offsetY - y.top) / y.height) * workers.length);
  const at = x.getValueForPixel(event.offsetX);
  if (!workers[worker] || event.offsetX < x.left) return null;
  const slack = (x.max - x.min) / x.width;  // a pixel
  const span =
    workers[worker].spans.findIndex((s) => at >= s[0] - slack && at <= Math.max(s[1], s[0] + slack));
  return span < 0 ? null : { worker, span };
}

const firstShown = (worker) => {
  const span = timeline.workers[worker].spans.findIndex((s) => s[1] > timeline.from);
  return span < 0 ? null : { worker, span };
};

function keyOnBars(event) {
  const t = timeline;
  if (event.ctrlKey || event.altKey || event.metaKey || !t.workers.length) return;
  const { worker, span } = t.chosen || { worker: 0, span: -1 };
  const spans = t.workers[worker].spans;
  const to = {
    ArrowRight: () => ({ worker, span: Math.min(spans.length - 1, span + 1) }),
    ArrowLeft: () => ({ worker, span: Math.max(0, span - 1) }),
    ArrowUp: () => sameTime(worker - 1),
    ArrowDown: () => sameTime(worker + 1),
    Home: () => ({ worker, span: 0 }),
    End: () => ({ worker, span: spans.length - 1 }),
  }[event.key];
  if (to)
    choose(to(), true);
  else if (event.key === "+" || event.key === "=")
    zoom(0.5);
  else if (event.key === "-")
    zoom(2);
  else if (event.key === "0")
    zoom(Infinity);
  else
    return;
  event.preventDefault();
}

// The span of another worker at the middle of the chosen one.
function sameTime(worker) {
  const { chosen, workers } = timeline;
  if (!workers[worker]) return chosen;
  const [begin, end] = chosen ? workers[chosen.worker].spans[chosen.span] : [0, 0];
  const span = workers[worker].spans.findIndex((s) => s[1] > (begin + end) / 2);
  return { worker, span: span < 0 ? workers[worker].spans.length - 1 : span };
}

function choose(chosen, byKey = false) {
  const t = timeline;
  if (t.chosen?.worker === chosen?.worker && t.chosen?.span === chosen?.span) return;
  t.chosen = chosen;
  if (chosen && byKey) bringIntoView();
  t.barsChart?.draw();
  showDetail();
  if (byKey) say(t.detail.textContent);
}

function showDetail() {
  const t = timeline;
  if (!t.chosen) {
    t.detail.textContent = "Point at a bar, or focus the chart and use the arrow keys, to read it.";
    return;
  }
  const w = t.workers[t.chosen.worker];
  const [begin, end, state, detail] = w.spans[t.chosen.span];
  const about = exists(detail) && detail >= 0 ? `, group or rollout ${detail}` :
    typeof detail === "string" && detail ? `, ${visible(detail)}` :
                                           "";
  t.detail.replaceChildren(swatch(stateFill(state)), make("strong", {}, visible(state)),
    ` ${seconds(end - begin)} (worker ${w.worker}, from ${begin.toFixed(3)} s to ${end.toFixed(3)} s${
      about})`);
}

function bringIntoView() {
  const t = timeline;
  const [begin, end] = t.workers[t.chosen.worker].spans[t.chosen.span];
  const width = t.to - t.from;
  if (begin >= t.from && end <= t.to) return;
  t.from = Math.max(0, Math.min(t.end - width, (begin + end) / 2 - width / 2));
  t.to = t.from + width;
  setTimes();
}

function zoom(factor) {
  const t = timeline;
  if (!t.charts.length) return;
  const span = t.chosen ? t.workers[t.chosen.worker].spans[t.chosen.span] : null;
  const middle = span ? (span[0] + span[1]) / 2 : (t.from + t.to) / 2;
  const width = Math.min(t.end, Math.max(t.end / 2000, (t.to - t.from) * factor));
  t.from = Math.max(0, Math.min(t.end - width, middle - width / 2));
  t.to = t.from + width;
  t.whole = width === t.end;
  setTimes();
}

function setTimes() {
  for (const chart of timeline.charts) {
    Object.assign(chart.options.scales.x, { min: timeline.from, max: timeline.to });
    chart.update("none");
  }
}
