// The overview: what the dataset holds, how the training went, what the predictions are worth, every case at a glance.
"use strict";

const ENCODERS = {
  random: ["carries no semantics", "The prompts were random numbers. Results say nothing of region-aware prompts."],
  tiny: ["small built-in encoder", "alpha-clip-tiny was trained on drawn shapes, not on medical images and not on the scale of CLIP."],
  weights: ["pretrained encoder", "Embeddings of the annotated regions and of the class names come from this encoder."],
  none: ["no embeddings", "The networks were not guided by prompts."],
};

const CASES_AT_FIRST = 200;

Rada.drawOverview = () => {
  const { report } = Rada;
  const parts = [
    ["summary", "Summary", Rada.summary],
    ["results", "Results", report.evaluation && Rada.results],
    ["training", "Training", report.training && Object.keys(report.training.folds).length && Rada.training],
    ["cases", "Cases", Rada.cases],
    ["settings", "Settings", Rada.settings],
  ].filter(([, , draw]) => draw);
  document.getElementById("overview").append(...parts.map(([id, title, draw]) => draw(id, title)));
  document.getElementById("parts").append(...parts.map(([id, title]) => Rada.el("a", { href: `#${id}` }, title)));
};

// --- summary ---------------------------------------------------------------------------------------------------------

Rada.summary = (id) => {
  const { report } = Rada;
  const { counts, slices_by_view: byView, evaluation } = report;
  const views = Object.entries(byView).filter(([, count]) => count).map(([view, count]) => `${count} ${view}`).join(", ");
  const withRole = (role, part = "name") => report.cases.filter((one) => one.role === role && one[part]).length;
  const tiles = [
    [counts.labelled, "labelled scans", `${Rada.plural(counts.slices, "drawn slice")}: ${views || "none"}`],
    [counts.unlabelled, "unlabelled scans", "train without any label"],
    ...[["test", "test scans", counts.test], ["new", "new scans", withRole("new")]].filter(([, , count]) => count)
      .map(([role, label, count]) => [count, label, `${withRole(role)} predicted, ${withRole(role, "metrics")} measured`]),
  ];
  const scores = evaluation && report.classes.map((one) => {
    const value = evaluation.mean[one.name].dice;
    return Rada.el("div", { class: "tile score" },
      Rada.el("div", { class: "big" }, Rada.number("dice", value)),
      Rada.el("div", { class: "label" }, Rada.swatch(one.colour), `mean Dice, ${one.name}`),
      Rada.el("div", { class: "muted" }, `HD95 ${Rada.number("hd95", evaluation.mean[one.name].hd95_mm)} mm, ` +
        Rada.plural(evaluation.n[one.name].dice, "case")));
  });
  const section = Rada.el("section", { id, class: "summary", "aria-labelledby": "page-title" },
    Rada.el("h1", { id: "page-title", tabindex: "-1" }, report.dataset),
    Rada.el("p", { class: "lead" }, `${report.modality} · `,
      report.classes.map((one) => Rada.el("span", { class: "class" }, Rada.swatch(one.colour), one.name)),
      report.training ? ` · ${report.training.trainer}` : null),
    Rada.el("div", { class: "tiles" },
      tiles.map(([number, label, detail]) => Rada.el("div", { class: "tile" },
        Rada.el("div", { class: "big" }, String(number)), Rada.el("div", { class: "label" }, label),
        Rada.el("div", { class: "muted" }, detail))),
      scores),
    Rada.encoder(),
    report.missing.length ? Rada.missing() : null);
  return section;
};

Rada.encoder = () => {
  const { encoder } = Rada.report;
  const [stamp, meaning] = ENCODERS[encoder.kind];
  const differs = encoder.predictions && encoder.predictions !== encoder.name;
  return Rada.el("div", { class: `encoder ${encoder.kind}` },
    Rada.el("span", { class: "stamp" }, stamp),
    Rada.el("p", {}, Rada.el("strong", {}, "Encoder: "), `${encoder.name}. ${meaning}`,
      differs && Rada.el("span", {}, ` The predictions were made with: ${encoder.predictions}.`)));
};

Rada.missing = () => Rada.el("details", { class: "missing" },
  Rada.el("summary", {}, `Left out: ${Rada.report.missing.map((one) => one.part).join(", ")}`),
  Rada.report.missing.map((one) => Rada.el("div", {}, Rada.el("p", {}, one.text, " Type:"), Rada.command(one.command))));

// --- results ---------------------------------------------------------------------------------------------------------

Rada.results = (id, title) => {
  const { evaluation } = Rada.report;
  const choose = Rada.el("select", { id: "measure" }, [["dice", "Dice"], ["jaccard", "Jaccard"], ["hd95_mm", "HD95 in mm"],
    ["asd_mm", "ASD in mm"], ["assd_mm", "ASSD in mm"]].map(([value, text]) => Rada.el("option", { value }, text)));
  const plot = Rada.el("div", {});
  const draw = () => plot.replaceChildren(Rada.distribution(choose.value.split("_")[0], choose.value));
  choose.addEventListener("change", draw);
  draw();
  const empty = evaluation.empty_predictions;
  return Rada.section(id, title,
    Rada.el("p", { class: "controls" }, Rada.el("label", { for: "measure" }, "Distribution of "), choose), plot,
    Rada.el("p", { class: "muted" }, "Each dot is a case. The box runs from the first to the third quartile, the line is the median."),
    empty ? Rada.el("p", { class: "note" }, `${Rada.plural(empty, "prediction is", "predictions are")} empty: Dice 0, no distances.`) : null,
    evaluation.partly_annotated.length ? Rada.el("p", { class: "note" },
      `${Rada.plural(evaluation.partly_annotated.length, "truth ignores", "truths ignore")} some voxels: overlap on the rest, no distances.`) : null,
    Rada.el("h3", {}, "Worst cases first"),
    Rada.measureTable(),
    Rada.el("details", {}, Rada.el("summary", {}, "What each measure means"), Rada.definitions(evaluation.definitions)));
};

Rada.definitions = (definitions) => Rada.el("dl", { class: "facts" },
  Object.entries(definitions).flatMap(([name, text]) => [Rada.el("dt", {}, name), Rada.el("dd", {}, String(text))]));

// --- training --------------------------------------------------------------------------------------------------------

Rada.training = (id, title) => {
  const { folds, trainer } = Rada.report.training;
  const names = Object.keys(folds);
  const epochs = (fold) => Math.max(...Object.values(folds[fold]).map((values) => values.length));
  const plot = Rada.el("div", {});
  const choose = Rada.el("select", { id: "fold" }, names.map((fold) => Rada.el("option", { value: fold }, `fold ${fold}`)));
  const draw = () => plot.replaceChildren(Rada.curves(folds[choose.value]));
  choose.addEventListener("change", draw);
  draw();
  return Rada.section(id, title,
    Rada.el("p", { class: "controls" }, `${trainer}, `,
      names.length > 1 ? [Rada.el("label", { for: "fold" }, "curves of "), choose] : `curves of fold ${names[0]}`,
      `, ${names.map((fold) => (names.length > 1 ? `fold ${fold}: ` : "") + Rada.plural(epochs(fold), "epoch")).join(", ")}`),
    plot);
};

// --- cases -----------------------------------------------------------------------------------------------------------

Rada.cases = (id, title) => {
  const { report } = Rada;
  const sorted = Rada.worstFirst(report.cases);
  const grid = Rada.el("ul", { class: "cases" });
  const find = Rada.el("input", { id: "find", type: "search", autocomplete: "off" });
  const role = Rada.el("select", { id: "role" }, Rada.el("option", { value: "" }, "all"),
    [...new Set(report.cases.map((one) => one.role))].sort().map((each) => Rada.el("option", { value: each }, each)));
  const count = Rada.el("p", { class: "muted" });
  const cards = new Map();
  const draw = () => {
    const wanted = find.value.trim().toLowerCase();
    const shown = sorted.filter((one) => (!role.value || one.role === role.value) && one.name.toLowerCase().includes(wanted));
    for (const one of shown) if (!cards.has(one.folder)) cards.set(one.folder, Rada.caseCard(one));
    grid.replaceChildren(...shown.slice(0, CASES_AT_FIRST).map((one) => cards.get(one.folder)));
    count.textContent = shown.length > CASES_AT_FIRST
      ? `The first ${CASES_AT_FIRST} of ${shown.length} cases; search for the others by name.`
      : `${Rada.plural(shown.length, "case")}${report.evaluation ? ", worst first" : ""}.`;
  };
  find.addEventListener("input", () => {
    draw();
    Rada.say(count.textContent);
  });
  role.addEventListener("change", () => {
    draw();
    Rada.say(count.textContent);
  });
  draw();
  const others = report.counts.unlabelled - report.cases.filter((one) => one.role === "unlabelled").length;
  return Rada.section(id, title,
    Rada.el("p", { class: "controls" },
      Rada.el("span", {}, Rada.el("label", { for: "find" }, "Search "), find),
      Rada.el("span", {}, Rada.el("label", { for: "role" }, "Show "), role)),
    count, grid,
    others > 0 ? Rada.el("p", { class: "muted" },
      `${Rada.plural(others, "unlabelled scan")} without a prediction: nothing to show but the image.`) : null);
};

Rada.caseCard = (one) => {
  const picture = one.thumbnails.find((each) => each.file === "predicted_axial.png") ||
    one.thumbnails.find((each) => each.title.startsWith("axial")) || one.thumbnails[0];
  const dice = Rada.meanDice(one);
  return Rada.el("li", {}, Rada.el("a", { href: Rada.caseAddress(one.folder), class: "case-card" },
    Rada.el("div", { class: "picture" }, picture && Rada.el("img", {
      src: `cases/${one.folder}/${picture.file}`, alt: "", loading: "lazy", decoding: "async", width: picture.width, height: picture.height })),
    Rada.el("div", { class: "case-name" }, one.name),
    Rada.el("div", { class: "case-facts" }, Rada.el("span", { class: `role ${one.role}` }, one.role),
      dice !== null && Rada.el("span", {}, "Dice ", Rada.el("strong", {}, Rada.number("dice", dice))))));
};

// --- settings --------------------------------------------------------------------------------------------------------

Rada.settings = (id, title) => {
  const { report } = Rada;
  const { made_by: made, training } = report;
  const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const facts = (content) => Rada.definitions(Object.fromEntries(Object.entries(content).map(([name, value]) => [name, shown(value)])));
  return Rada.section(id, title,
    Rada.el("p", {}, "The dataset was made by:"), Rada.command(made.command),
    training && Object.keys(training.config).length ? Rada.el("details", { open: true },
      Rada.el("summary", {}, `Training: the effective settings of ${training.trainer}`), facts(training.config)) : null,
    Rada.el("details", {}, Rada.el("summary", {}, "Slices and propagation"),
      facts({ "slice strategy": made.strategy, seed: made.seed, ...made.propagation })),
    Rada.el("details", {}, Rada.el("summary", {}, "Versions"), facts(made.versions)));
};
