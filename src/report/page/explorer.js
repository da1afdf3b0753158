// Any key of metrics.jsonl, chosen from the list of all of them.

const EXPLORED_MAX = 8;
const ALREADY_CHOSEN = ["grad_norm", "reward/std"];
const explorer = {
  plots: new Map(),
  keys: ""
};

function explorerSection() {
  explorer.filter = make("input", {
    type: "search",
    id: "key-filter",
    placeholder: "filter, e.g. spec/",
    autocomplete: "off",
    spellcheck: "false",
    oninput: fillKeys
  });
  explorer.list = make("div", {
    class: "keys",
    role: "group",
    "aria-label": "Keys of metrics.jsonl; up and down go through them",
    onkeydown: moveInList
  });
  explorer.count = make("p", { class: "note", role: "status" });
  explorer.place = make("div", { class: "plots" });
  ALREADY_CHOSEN.filter((key) => hasKey(run, key)).forEach(addKey);
  fillKeys();
  return [
    make("div", { class: "explorer" },
      make("div", { class: "chooser" }, make("label", { "for": "key-filter" }, "Keys of metrics.jsonl"),
        explorer.filter, explorer.list, explorer.count),
      explorer.place),
  ];
}

function fillKeys() {
  const words = explorer.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = keysOf(run).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const shown = all.filter((k) => words.every((w) => k.toLowerCase().includes(w)));
  explorer.keys = all.join("\n");
  explorer.list.replaceChildren(...shown.map((key) => {
    const box = make("input", {
      type: "checkbox",
      tabindex: "-1",
      checked: explorer.plots.has(key),
      onchange: () => pickKey(key, box)
    });
    return make("label", {}, box, foreign(key));
  }));
  explorer.list.querySelector("input")?.setAttribute("tabindex", "0");
  showCount(shown.length, all.length);
}

// The list is one stop of the tabulator key; arrows move inside.
function moveInList(event) {
  const boxes = [...explorer.list.querySelectorAll("input")];
  const at = boxes.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: boxes.length - 1 }[event.key];
  if (at < 0 || !boxes[to]) return;
  event.preventDefault();
  boxes[at].tabIndex = -1;
  boxes[to].tabIndex = 0;
  boxes[to].focus();
}

function showCount(shown, all) {
  explorer.count.textContent = !all ?
    "No keys yet." :
    `${shown === all ? plural(all, "key") : `${number(shown)} of ${number(all)} keys`}; choose up to ${
      EXPLORED_MAX}.`;
}

function pickKey(key, box) {
  if (!box.checked) {
    const p = explorer.plots.get(key);
    explorer.plots.delete(key);
    dropPlot(p);
  } else if (explorer.plots.size >= EXPLORED_MAX) {
    box.checked = false;
    explorer.count.textContent = `${EXPLORED_MAX} keys are shown; take one away first.`;
  } else {
    draw(addKey(key));
  }
}

function addKey(key) {
  const p = single(visible(key), key, { label: visible(key) });
  explorer.plots.set(key, p);
  explorer.place.append(p.node);
  return p;
}

function refreshExplorer() {
  if (keysOf(run).length !== explorer.keys.split("\n").filter(Boolean).length) fillKeys();
}
