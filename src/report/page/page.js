// Puts the page together.

const RUN_STATES = {
  done: "complete",
  running: "running",
  stopped: "stopped",
  failed: "failed",
  unknown: "state unknown"
};

function headline() {
  const info = run.run || {};
  const name = several ? `${runs.length} runs compared` : info.name || "tlt";
  byId("name").replaceChildren(several ? name : foreign(name));
  document.title = `${visible(name)} – tlt`;
  const about = several ? runLabels().join(", ") : [
    exists(info.step) && exists(info.steps) ? `step ${number(info.step)} of ${number(info.steps)}` : "",
    info.path ? visible(info.path) : "", info.tlt ? `tlt ${visible(info.tlt)}` : "",
    data.thinned > 1 ? `curves thinned: a point is the mean of ${data.thinned} steps` : ""
  ].filter(Boolean).join(" · ");
  byId("about").replaceChildren(foreign(about));
  byId("made").textContent = "Made by tlt. Charts by Chart.js (MIT licence).";
  showState();
}

function showState() {
  const place = byId("state");
  place.hidden = several || !run.run;
  if (place.hidden) return;
  const state = run.run.state in RUN_STATES ? run.run.state : "unknown";
  const gone = live.lost && !live.ended;
  place.className = `state ${gone ? "lost" : state}`;
  place.textContent =
    gone ? `no connection since ${new Date(live.lost).toLocaleTimeString()}` : RUN_STATES[state];
  byId("reason").hidden = !run.run.reason;
  byId("reason").replaceChildren(foreign(run.run.reason || ""));
}

function notices() {
  const all = list((several ? data.compare || {} : run.run || {}).notices);
  return all.length ?
    make("div", { class: "notices", role: "note", "aria-label": "Notices" }, make("h2", {}, "Please note"),
      make("ul", {}, all.map((n) => make("li", {}, foreign(n))))) :
    null;
}

const section = (id, title, ...children) => make(
  "section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, title), ...children);
const part = (title, ...children) => make("div", { class: "part" }, make("h3", {}, title), ...children);
const plotGrid = (some) => make("div", { class: "plots" }, some.map((p) => p.node));

// Parts that are made anew when the data changes.
const changing = [];
function remade(build) {
  const place = make("div", {}, build());
  changing.push(() => place.replaceChildren(...[build()].flat().filter(Boolean)));
  return place;
}

function runSections() {
  return [
    section("overview", "Overview", remade(() => notices()), remade(figures)),
    section("learning", "Learning", plotGrid(learningPlots())),
    section("speculation", "Speculation", plotGrid(speculationPlots())),
    section("time", "Time", plotGrid(timePlots()),
      make("div", { class: "two uneven" }, part("Seconds by state", remade(phasesTable)),
        make("div", {},
          part("What speculation and idle work saved", make("div", { id: "saved" }, remade(savedTable))),
          part("Energy and cost", remade(costTable))))),
    section("timeline", "Timeline of a step", timelineSection()),
    section("answers", "Answers", plotGrid([lengthsPlot()]), part("Samples", samplesSection())),
    section("keys", "Any key", ...explorerSection()),
    section("setup", "Setup",
      make("div", { class: "two" },
        part("Configuration",
          pairs("Configuration", data.config, "The configuration was not found (config.yaml).")),
        part("Machine", pairs("Machine", data.machine, "The machine was not recorded (machine.json)."))),
      part("Hashes", remade(hashesTable))),
  ];
}

function compareSections() {
  const { verdict } = data.compare || {};
  return [
    section("overview", "Overview", notices(),
      verdict ? make("p", { class: "verdict" }, foreign(verdict)) : null,
      make("div", { class: "part" }, compareTable())),
    section("plots", "Plots", plotGrid(COMPARED.map((c) => comparePlot(...c)))),
  ];
}

// partly: after new data, everything that the data changes; else only what colours change too.
function redraw(partly = false) {
  if (partly) headline();
  changing.forEach((f) => f());
  drawAll(partly);
  drawTimeline();
  reachScrollers();
  if (partly && explorer.filter) refreshExplorer();
}

// What scrolls can be reached by the tabulator key, what does not is passed over.
function reachScrollers() {
  for (const e of document.querySelectorAll(".text, .scroll, .pairs")) {
    if (e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1)
      e.tabIndex = 0;
    else
      e.removeAttribute("tabindex");
  }
}

function start() {
  const sections = several ? compareSections() : runSections();
  byId("page").replaceChildren(make("p", { id: "reason", class: "reason", hidden: true }), ...sections);
  byId("contents")
    .replaceChildren(
      ...sections.map((s) => make("a", { href: `#${s.id}` }, s.querySelector("h2").textContent)));
  headline();
  startTheme(() => redraw());
  redraw();
  startLive();
}

start();
