// Elements, and texts of unknown origin. Nothing here or elsewhere writes markup: texts become text nodes.

// make("p", {class: "x", onclick: f}, "text", element, null, ...)
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on"))
      e.addEventListener(name.slice(2), value);
    else if (value === true)
      e.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      e.setAttribute(name, value);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return e;
}

const byId = (id) => document.getElementById(id);
const say = (text) => {
  byId("said").textContent = text;
};

// Characters that would act or vanish instead of showing: controls, replacement of invalid bytes, direction
// and zero-width marks, separators, private use, unpaired surrogates.
const UNSEEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\ue000-\\uf8ff\\ufeff\\ufff9-\\uffff\\u{e0000}-\\u{e0fff}\\u{f0000}-\\u{10ffff}]|\\p{Surrogate}",
  "gu");

// ASCII's own names: fonts often lack Unicode's pictures of control characters.
const CONTROLS =
  ("NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US")
    .split(" ");

function symbolOf(c) {
  const code = c.codePointAt(0);
  if (code < 0x20) return CONTROLS[code];
  if (code === 0x7f) return "DEL";
  if (code === 0xfffd) return "\ufffd";
  return "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}

// The text with such characters as symbols, for places that take plain strings.
const visible = (text) => String(text).replace(UNSEEN, (c) => `[${symbolOf(c)}]`);

// The same as nodes, each symbol marked.
function visibleNodes(text) {
  const nodes = [];
  let at = 0;
  for (const m of String(text).matchAll(UNSEEN)) {
    if (m.index > at) nodes.push(text.slice(at, m.index));
    nodes.push(make("span", { class: "symbol", title: symbolTitle(m[0]) }, symbolOf(m[0])));
    at = m.index + m[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function symbolTitle(c) {
  const code = "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return c === "\ufffd" ? "bytes that are not UTF-8" : `character ${code}`;
}

// Text of unknown origin and direction, kept apart from what surrounds it.
const foreign = (text, attributes = {}) =>
  make("bdi", { dir: "auto", ...attributes }, visibleNodes(String(text)));

// head: texts; rows: arrays of texts or nodes. A column given in `texts` holds texts, the others numbers.
function table(caption, head, rows, texts = [0], attributes = {}) {
  const cell = (tag, c, i, scope) => make(tag, { class: texts.includes(i) ? null : "number", scope }, c);
  return make("div", { class: "scroll", role: "region", "aria-label": caption },
    make("table", attributes, make("caption", { class: "unseen" }, caption),
      make("thead", {}, make("tr", {}, head.map((c, i) => cell("th", c, i, "col")))),
      make("tbody", {},
        rows.map(
          (row) => make("tr", {}, row.map((c, i) => (i ? cell("td", c, i) : cell("th", c, i, "row"))))))));
}
