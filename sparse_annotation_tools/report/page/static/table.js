// The table of measures: one row a case and class, sorted by any column; the worst come first.
"use strict";

const MEASURES = ["dice", "jaccard", "hd95", "asd", "assd"];
const SHOWN_AT_FIRST = 24;

// Of `hd95` in millimetres the key is `hd95_mm`; Dice and Jaccard have no unit.
Rada.metricKey = (metric, unit) => (metric === "dice" || metric === "jaccard" ? metric : `${metric}_${unit}`);

Rada.isBetterHigh = (metric) => metric === "dice" || metric === "jaccard";

Rada.measureTable = () => {
  const state = { by: "dice", ascending: true, unit: "mm", all: false };
  const rows = Rada.report.cases.filter((one) => one.metrics).flatMap((one) =>
    Object.entries(one.metrics).map(([name, values]) => ({ one, name, values })));
  const body = Rada.el("tbody", {});
  const foot = Rada.el("tfoot", {});
  const more = Rada.el("button", { type: "button", class: "plain" });
  const heads = new Map();
  const head = Rada.el("tr", {});
  for (const [key, text] of [["case", "Case"], ["class", "Class"], ...MEASURES.map((key) => [key, Rada.metricNames[key]])]) {
    const unit = Rada.el("span", { class: "unit" });
    const button = Rada.el("button", { type: "button" }, text, unit, Rada.el("span", { class: "arrow", "aria-hidden": "true" }));
    const cell = Rada.el("th", { scope: "col", class: MEASURES.includes(key) ? "number" : null }, button);
    button.addEventListener("click", () => {
      state.ascending = state.by === key ? !state.ascending : !MEASURES.includes(key) || Rada.isBetterHigh(key);
      state.by = key;
      draw();
      Rada.say(`Sorted by ${text}, ${state.ascending ? "lowest" : "highest"} first`);
    });
    heads.set(key, { cell, unit });
    head.append(cell);
  }

  const value = (row) => {
    if (state.by === "case") return row.one.name;
    if (state.by === "class") return row.name;
    return row.values[Rada.metricKey(state.by, state.unit)];
  };
  const compared = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a.one.name < b.one.name ? -1 : a.one.name > b.one.name ? 1 : 0;
    if (x === null || y === null) return x === null ? 1 : -1; // what has no value comes last, either way
    return (x < y ? -1 : 1) * (state.ascending ? 1 : -1);
  };

  const draw = () => {
    for (const [key, { cell, unit }] of heads) {
      cell.setAttribute("aria-sort", key !== state.by ? "none" : state.ascending ? "ascending" : "descending");
      unit.textContent = MEASURES.includes(key) && !Rada.isBetterHigh(key) ? (state.unit === "mm" ? " mm" : " voxels") : "";
    }
    const sorted = [...rows].sort(compared);
    body.replaceChildren(...sorted.slice(0, state.all ? undefined : SHOWN_AT_FIRST).map(drawnRow));
    more.hidden = rows.length <= SHOWN_AT_FIRST;
    more.textContent = state.all ? `Show the first ${SHOWN_AT_FIRST} rows` : `Show all ${rows.length} rows`;
    foot.replaceChildren(...Rada.report.classes.map((one) => Rada.meanRow(one.name, state.unit)));
  };
  const drawnRow = ({ one, name, values }) => Rada.el("tr", {},
    Rada.el("th", { scope: "row" }, Rada.el("a", { href: Rada.caseAddress(one.folder) }, one.name)),
    Rada.el("td", {}, Rada.swatch(Rada.classColour(name)), name),
    MEASURES.map((metric) => {
      const number = values[Rada.metricKey(metric, state.unit)];
      const cell = Rada.el("td", { class: "number" }, Rada.number(metric, number));
      if (metric === "dice" && number !== null) {
        cell.classList.add("bar");
        cell.style.setProperty("--share", `${100 * number}%`);
      }
      return cell;
    }));

  more.addEventListener("click", () => {
    state.all = !state.all;
    draw();
    Rada.say(state.all ? `All ${rows.length} rows are shown` : `The first ${SHOWN_AT_FIRST} rows are shown`);
  });
  const units = Rada.el("select", { id: "unit" }, Rada.el("option", { value: "mm" }, "millimetres"), Rada.el("option", { value: "voxel" }, "voxels"));
  units.addEventListener("change", () => {
    state.unit = units.value;
    draw();
  });
  draw();
  const table = Rada.el("table", {},
    Rada.el("caption", { class: "only-heard" }, "Measures of each case and class; the buttons in the first row sort"),
    Rada.el("thead", {}, head), body, foot);
  return Rada.el("div", {},
    Rada.el("p", { class: "controls" }, Rada.el("label", { for: "unit" }, "Distances in "), units),
    Rada.el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Table of measures" }, table), more);
};

Rada.meanRow = (name, unit) => {
  const { mean, sd } = Rada.report.evaluation;
  return Rada.el("tr", {},
    Rada.el("th", { scope: "row" }, "Mean ± SD"),
    Rada.el("td", {}, Rada.swatch(Rada.classColour(name)), name),
    MEASURES.map((metric) => {
      const key = Rada.metricKey(metric, unit);
      const spread = sd[name][key];
      return Rada.el("td", { class: "number" }, Rada.number(metric, mean[name][key]),
        spread === null ? null : Rada.el("span", { class: "muted" }, ` ± ${Rada.number(metric, spread)}`));
    }));
};
