// The run goes on: events from the server bring steps, timelines and progress into the page.

const REDRAW_MS = 1000;    // at most so often
const RELOAD_MS = 1000;    // the server no longer has what was missed: its page has
const RETRY_MS = 3000;     // where the browser gave the stream up
const TIMELINES_MAX = 50;  // kept in the page, the newest
const PHASES = {
  load: "loading",
  rollout: "rollout",
  update: "update",
  eval: "evaluation",
  save: "saving",
  done: "done"
};

const live = {
  source: null,
  after: data.after,
  waiting: false,
  lost: 0,
  ended: false
};

function startLive() {
  if (data.live !== true || typeof EventSource === "undefined") return;
  listen();
}

function listen() {
  live.source = new EventSource(live.after ? `events?after=${encodeURIComponent(live.after)}` : "events");
  const on = (name, f) => live.source.addEventListener(name, (event) => {
    if (event.lastEventId) live.after = event.lastEventId;
    let value = null;
    try {
      value = JSON.parse(event.data);
    } catch {
      return;  // torn in transport: the next one is whole
    }
    if (value && typeof value === "object") f(value);
  });
  on("step", onStep);
  on("timeline", onTimeline);
  on("progress", onProgress);
  on("end", onEnd);
  on("reload", () => setTimeout(() => location.reload(), RELOAD_MS));
  live.source.onopen = () => connected();
  live.source.onerror = () => disconnected();
}

function connected() {
  if (live.lost) say("connected again");
  live.lost = 0;
  showState();
}

function disconnected() {
  if (live.ended) return;
  live.lost = live.lost || Date.now();
  showState();
  if (live.source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
}

// The page of a run without a step knows little of it: with the first one it is worth loading again.
function onStep(line) {
  const first = !stepsOf(data).length;
  if (first && performance.now() > RETRY_MS) return location.reload();
  appendLine(line);
  addToPhases(line);
  if (data.run) data.run.step = line.step;
  redrawSoon();
}

// Seconds by state grow with the run; the last tenth is known only to those who see all steps.
function addToPhases(line) {
  if (!exists(line.step)) return;
  if (!list(data.phases?.rows).length) data.phases = { steps: [line.step, line.step], rows: [] };
  const { rows, steps } = data.phases;
  if (list(steps).length === 2) steps[1] = line.step;
  data.phases.last = null;
  for (const name of Object.keys(STATES)) {
    const value = line[`workers/${name}`];
    const row = rows.find((r) => r && r.name === name);
    if (row && exists(value))
      row.seconds += value;
    else if (value > 0)
      rows.push({ name, seconds: value });
  }
  const all = total(rows.map((r) => r && r.seconds));
  for (const row of rows)
    if (row) row.share = row.seconds / all;
}

function onTimeline({ step, workers }) {
  if (!exists(step) || !Array.isArray(workers)) return;
  const t = (data.timeline = data.timeline || {});
  t.data = t.data || {};
  t.steps = [...list(t.steps).filter((s) => s !== step), step].sort((a, b) => a - b);
  t.data[step] = workers;
  for (const old of t.steps.splice(0, Math.max(0, t.steps.length - TIMELINES_MAX))) delete t.data[old];
  redrawSoon();
}

function onProgress(p) {
  live.progress = p;
  showProgress();
}

function onEnd({ state, reason }) {
  live.ended = true;
  live.source.close();
  Object.assign(data.run = data.run || {}, { state: state || "unknown", reason: reason || "" });
  live.progress = null;
  showProgress();
  redrawNow();
  say("the run has ended");
}

function showProgress() {
  const p = live.progress;
  const place = byId("progress");
  place.hidden = !p;
  if (!p) return;
  const parts = [
    PHASES[p.phase] || visible(p.phase || ""),
    exists(p.done) && p.total > 0 ? `${number(p.done)} of ${number(p.total)}` : "",
    p.rate > 0 ? `${number(Math.round(p.rate))} tokens/s` : "",
    exists(p.left) && p.left >= 0 ? `${p.left < 120 ? `${Math.round(p.left)} s` : seconds(p.left)} left` : ""
  ].filter(Boolean);
  let meter = place.querySelector("progress");
  if (!meter) {
    meter = make("progress", { "aria-label": "steps done", max: 1 });
    place.replaceChildren(meter, make("span", {}));
  }
  meter.value = p.steps > 0 ? Math.min(1, p.step / p.steps) : 0;
  place.lastChild.textContent = `step ${number(p.step)} of ${number(p.steps)}: ${parts.join(", ")}`;
}

// A page that nobody sees draws when it is looked at again.
function redrawSoon() {
  if (live.waiting) return;
  live.waiting = true;
  if (document.hidden)
    document.addEventListener("visibilitychange", redrawNow, { once: true });
  else
    setTimeout(redrawNow, REDRAW_MS);
}

function redrawNow() {
  live.waiting = false;
  if (timeline.select) fillStepList();
  redraw(true);
}
