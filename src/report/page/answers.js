// Answers: how long they are, and samples with each token's origin.

const PARTS =
  [["first", "first step", "pale"], ["middle", "middle step", "sky"], ["last", "last step", "blue"]];

function lengthsPlot() {
  return plot({
    title: "Length of answers",
    wide: true,
    height: 250,
    build: () => {
      const { edges, ...counts } = data.lengths || {};
      const there = PARTS.filter(([name]) => total(list(counts[name])) > 0);
      if (!list(edges).length || !there.length)
        return "No histogram of lengths in this run (completions/length_le).";
      const used = there.flatMap(
        ([name]) => [counts[name].findIndex((c) => c > 0), counts[name].findLastIndex((c) => c > 0)]);
      const [from, to] = [Math.min(...used), Math.max(...used)];
      const labels = Array.from({ length: to - from + 1 }, (_, i) => rangeLabel(edges, from + i));
      return {
        type: "bar",
        labels,
        titles: labels.map((l) => `${l} tokens`),
        gap: 0.86,
        xTitle: "tokens of an answer",
        value: (v) => percent(v),
        tick: percentTick,
        note: data.thinned > 1 ? `Share of the answers; a step is the mean of ${data.thinned}.` :
                                 "Share of the answers of the step.",
        series: there.map(([name, label, hue]) => ({
          label,
          ink: color(hue),
          values: labels.map((_, i) => (counts[name][from + i] || 0) / total(counts[name]))
        })),
      };
    },
  });
}

function rangeLabel(edges, i) {
  if (i >= edges.length) return `over ${edges[edges.length - 1]}`;
  const from = i ? edges[i - 1] + 1 : 1;
  return from === edges[i] ? String(from) : `${from}–${edges[i]}`;
}

function samplesSection() {
  const samples = list(data.samples).filter((s) => s && typeof s === "object");
  if (!samples.length)
    return [make("p", { class: "note" }, "No answers were kept (log.rollouts)."), asLoaded()];
  const steps = [...new Set(samples.map((s) => s.step))];
  return [
    sourceLegend(samples),
    ...steps.map((step) => {
      const of = samples.filter((s) => s.step === step);
      return make("section", { class: "samples" }, make("h4", {}, stepsText(step, step)),
        make("div", { class: "cards" }, of.map(sampleCard)));
    }),
    asLoaded(),
  ];
}

const sourceName = (s) => SOURCES[s] || "target";
const piecesOf = (sample) =>
  list(sample.pieces).filter(Array.isArray).map(([text, source]) => [String(text ?? ""), sourceName(source)]);

function sourceLegend(samples) {
  const used = new Set(samples.flatMap((s) => piecesOf(s).map((p) => p[1])));
  if (used.size < 2 && used.has("target"))
    return make("p", { class: "note" }, "Which tokens came from drafts was not recorded.");
  return make("p", { class: "sources" }, "Tokens that came from an accepted draft: ",
    Object.values(SOURCES)
      .filter((s) => s !== "target" && used.has(s))
      .map((s) => make("span", { class: `source ${s}` }, SOURCE_LABELS[s])));
}
const SOURCE_LABELS = {
  suffix: "suffix",
  eagle: "eagle",
  both: "both guessed it"
};

function sampleCard(s) {
  const facts = [
    ["reward", number(s.reward, 3)],
    s.score !== s.reward && exists(s.score) ? ["score", number(s.score, 3)] : null,
    ["tokens", number(s.tokens)],
    [
      "end",
      s.finish === "length" ? "cut off" :
        s.finish === "stop" ? "by itself" :
                              visible(s.finish || DASH)
    ],
  ].filter(Boolean);
  return make("article", { class: "sample" },
    make("header", {}, make("h5", {}, `Rollout ${number(s.rollout)}, sample ${number(s.sample)}`),
      make("dl", { class: "facts" },
        facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))),
    s.prompt ? make("div", { class: "text prompt", dir: "auto", role: "region", "aria-label": "prompt" },
                 visibleNodes(String(s.prompt))) :
               null,
    make("div", { class: "text", dir: "auto", role: "region", "aria-label": "answer" },
      piecesOf(s).map(
        ([text, source]) => make("span",
          source === "target" ? {} : { class: `source ${source}`, title: `drafted by ${source}` },
          visibleNodes(text))),
      s.answer_cut ? make("span", { class: "soft" }, " … (the page shows its beginning)") : null));
}
