// Colours. Okabe and Ito's set, which stays distinct for colour-blind eyes, brightened for dark; what is no
// work (idle, waiting) is hatched, so that it also shows in a black and white print.

const HUES = {
  blue: ["#0072b2", "#4da6e0"],
  orange: ["#e08e00", "#f2ae3d"],
  green: ["#009e73", "#35c49a"],
  purple: ["#b8609a", "#de9cc4"],
  sky: ["#56b4e9", "#8fd0f7"],
  vermillion: ["#d55e00", "#ff8b47"],
  brown: ["#8a6a3f", "#b8966a"],
  grey: ["#6b7280", "#9aa3b2"],
  pale: ["#c3c9d2", "#4b5361"],
};
const SERIES = ["blue", "vermillion", "green", "orange", "purple", "sky", "brown", "grey"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [5, 5], [1, 2], [12, 4], [3, 1]];

const STATES = {
  decoding: { hue: "blue", about: "engine steps of the rollout" },
  gradient: { hue: "orange", about: "gradients of groups" },
  drafter: { hue: "green", about: "training the drafter" },
  update: { hue: "purple", about: "reduction and optimizer step" },
  reference: { hue: "vermillion", about: "log-probabilities of the KL reference" },
  eval: { hue: "sky", about: "evaluation" },
  saving: { hue: "brown", about: "writing files" },
  other: { hue: "grey", about: "the rest" },
  lending: { hue: "green", hatch: "\\", about: "nothing to do; others compute on its cores" },
  waiting: { hue: "grey", hatch: "\\", about: "waiting for other workers" },
  reward: { hue: "brown", hatch: "x", about: "waiting for scores" },
  idle: { hue: "grey", hatch: "/", about: "nothing to do" },
};
const OTHER_NAMES = {
  rollout: { hue: "blue", about: "sampling answers" }
};  // of runs without seconds by state
const SOURCES = {
  ".": "target",
  s: "suffix",
  e: "eagle",
  b: "both"
};
const SOURCE_HUES = {
  target: "pale",
  suffix: "blue",
  eagle: "orange",
  both: "green"
};

let dark = false;
const color = (hue) => (HUES[hue] || HUES.grey)[dark ? 1 : 0];
const seriesColor = (i) => color(SERIES[i % SERIES.length]);

function faint(hex, alpha) {
  const n = parseInt(hex.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
}

// From light to strong of one hue, for ordered things such as percentiles and depths.
function shade(hue, i, n) {
  const strength = n > 1 ? 0.3 + (0.7 * i) / (n - 1) : 1;
  const to = dark ? [23, 26, 33] : [255, 255, 255];
  const hex = color(hue);
  const mix = [1, 3, 5].map(
    (at, k) => Math.round(parseInt(hex.slice(at, at + 2), 16) * strength + to[k] * (1 - strength)));
  return "#" + mix.map((v) => v.toString(16).padStart(2, "0")).join("");
}

const patterns = new Map();

function hatched(hue, kind) {
  const key = hue + kind + dark;
  if (!patterns.has(key)) patterns.set(key, drawHatch(color(hue), kind));
  return patterns.get(key);
}

function drawHatch(ink, kind) {
  const side = 8;
  const tile = make("canvas", { width: side, height: side });
  const g = tile.getContext("2d");
  g.fillStyle = faint(ink, 0.16);
  g.fillRect(0, 0, side, side);
  g.strokeStyle = ink;
  g.lineWidth = 1.2;
  g.beginPath();
  for (let d = -side; d <= side; d += side) {  // each line also where the neighbouring tiles continue it
    if (kind !== "\\") g.moveTo(d - 1, side + 1), g.lineTo(d + side + 1, -1);
    if (kind !== "/") g.moveTo(d - 1, -1), g.lineTo(d + side + 1, side + 1);
  }
  g.stroke();
  return g.createPattern(tile, "repeat");
}

const stateOf = (name) => STATES[name] || OTHER_NAMES[name] || STATES.other;
const stateFill = (name) =>
  (stateOf(name).hatch ? hatched(stateOf(name).hue, stateOf(name).hatch) : color(stateOf(name).hue));

// A small box that shows a fill, hatched or not.
function swatch(fill) {
  const box = make("canvas", { class: "swatch", width: 28, height: 20, "aria-hidden": "true" });
  const g = box.getContext("2d");
  g.scale(2, 2);
  g.fillStyle = fill;
  g.fillRect(0, 0, 14, 10);
  return box;
}

// A piece of a line as it is drawn.
function stroke(ink, dash = []) {
  const box = make("canvas", { class: "swatch", width: 44, height: 20, "aria-hidden": "true" });
  const g = box.getContext("2d");
  g.scale(2, 2);
  g.strokeStyle = ink;
  g.lineWidth = 2.5;
  g.setLineDash(dash);
  g.beginPath();
  g.moveTo(0, 5);
  g.lineTo(22, 5);
  g.stroke();
  return box;
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");
let systemIsDark = systemDark.matches;  // paper is light: while printing this is not asked
let chosen = remembered();
let printing = false;

function remembered() {
  try {
    return localStorage.getItem("tlt-theme");
  } catch {
    return null;  // no storage here
  }
}

function applyTheme() {
  dark = !printing && (chosen ? chosen === "dark" : systemIsDark);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").textContent = dark ? "Light colours" : "Dark colours";
  const style = getComputedStyle(document.documentElement);
  Chart.defaults.color = style.getPropertyValue("--soft").trim();
  Chart.defaults.borderColor = style.getPropertyValue("--rule").trim();
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
}

function startTheme(redraw) {
  applyTheme();
  byId("theme").addEventListener("click", () => {
    chosen = dark ? "light" : "dark";
    try {
      localStorage.setItem("tlt-theme", chosen);
    } catch { /* not remembered */
    }
    applyTheme();
    redraw();
  });
  systemDark.addEventListener("change", () => {
    if (printing) return;
    systemIsDark = systemDark.matches;
    applyTheme();
    redraw();
  });
  addEventListener("beforeprint", () => {
    printing = true;
    document.documentElement.classList.add("printing");
    applyTheme();
    redraw();
  });
  addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("printing");
    applyTheme();
    redraw();
  });
}
