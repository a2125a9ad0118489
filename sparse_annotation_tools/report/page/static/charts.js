// Line charts and distributions, drawn as SVG.
"use strict";

// Dark enough on white, told apart by colour-blind readers; dashes repeat the message for prints without colour.
const LINE_STYLES = [
  { colour: "#0072B2", dash: "" }, { colour: "#D55E00", dash: "7 3" }, { colour: "#17222D", dash: "2 3" },
  { colour: "#606060", dash: "9 3 2 3" }, { colour: "#603000", dash: "12 4" },
];

const DOT_LEVELS = [0, 1, -1, 2, -2, 3, -3]; // dots that would cover each other are spread upwards and downwards

const CURVE_TITLES = {
  loss: ["Loss", "of each network"], sup: ["Supervised loss", "on propagated labels"],
  peer: ["Peer supervision loss", "on the other networks' labels"], dice: ["Dice", "on the annotated voxels of validation patches"],
  beta: ["β", "weight of peer supervision"], alpha: ["α", "decay per slice of a label's weight"],
  trusted: ["Trusted voxels", "share with low uncertainty"], data_wait: ["Waiting for data", "share of an epoch"],
};

Rada.lineStyle = (index) => LINE_STYLES[index % LINE_STYLES.length];

// Round steps that cover a range: at most `most` of them.
Rada.ticks = (low, high, most = 5) => {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => (high - low) / size <= most);
  const first = Math.ceil(low / step - 1e-9);
  const ticks = [];
  for (let k = first; k * step <= high + step * 1e-6; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
};

// The curves of one fold, one panel for what stands before the slash of their names.
Rada.curves = (curves) => {
  const panels = new Map();
  for (const [name, values] of Object.entries(curves)) {
    const [panel, line] = name.split("/");
    if (!panels.has(panel)) panels.set(panel, []);
    panels.get(panel).push({ line: line || "", values });
  }
  const order = Object.keys(CURVE_TITLES);
  const place = (name) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  const names = [...panels.keys()].sort((a, b) => place(a) - place(b));
  return Rada.el("div", { class: "charts" }, names.map((name) => Rada.curvePanel(name, panels.get(name))));
};

Rada.curvePanel = (name, lines) => {
  const [title, meaning] = CURVE_TITLES[name] || [name, ""];
  const last = (values) => [...values].reverse().find((value) => value !== null);
  const heard = lines.map(({ line, values }) => `${line || title} ${Number(last(values)).toPrecision(3)}`).join(", ");
  const epochs = Math.max(...lines.map(({ values }) => values.length));
  return Rada.el("figure", { class: "chart" },
    Rada.el("figcaption", {}, Rada.el("strong", {}, title), meaning && Rada.el("span", { class: "muted" }, ` ${meaning}`)),
    Rada.lineChart(lines, `${title} over ${Rada.plural(epochs, "epoch")}. At the end: ${heard}.`),
    lines.length > 1 && Rada.el("ul", { class: "legend" }, lines.map(({ line }, index) =>
      Rada.el("li", {}, Rada.lineSample(index), line))));
};

Rada.lineSample = (index) => {
  const { colour, dash } = Rada.lineStyle(index);
  return Rada.svg("svg", { width: 26, height: 8, "aria-hidden": "true" },
    Rada.svg("line", { x1: 1, x2: 25, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash }));
};

Rada.lineChart = (lines, description) => {
  const [width, height, left, right, top, bottom] = [360, 200, 44, 12, 10, 40];
  const finite = lines.flatMap(({ values }) => values).filter((value) => value !== null);
  const epochs = Math.max(...lines.map(({ values }) => values.length), 2);
  let [low, high] = [Math.min(...finite), Math.max(...finite)];
  if (low >= 0 && low < 0.6 * high) low = 0;
  if (high === low) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  const x = (epoch) => left + ((epoch - 1) / (epochs - 1)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const chart = Rada.svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description });
  for (const tick of Rada.ticks(low, high, 5)) {
    chart.append(
      Rada.svg("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
      Rada.svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of Rada.ticks(1, epochs, 6).filter(Number.isInteger)) {
    chart.append(Rada.svg("text", { x: x(tick), y: height - 23, "text-anchor": "middle" }, String(tick)));
  }
  chart.append(Rada.svg("text", { x: width - right, y: height - 5, "text-anchor": "end", class: "unit" }, "epoch"));
  lines.forEach(({ values }, index) => chart.append(...Rada.polylines(values, x, y, index, epochs)));
  return chart;
};

// A line with gaps where there is no value; single values become dots.
Rada.polylines = (values, x, y, index, epochs) => {
  const { colour, dash } = Rada.lineStyle(index);
  const parts = [[]];
  values.forEach((value, epoch) => {
    if (value === null) parts.push([]);
    else parts[parts.length - 1].push([x(epoch + 1), y(value)]);
  });
  const drawn = [];
  for (const points of parts.filter((each) => each.length)) {
    const text = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
    drawn.push(Rada.svg("polyline", { points: text, class: "line", stroke: colour, "stroke-dasharray": dash }));
    if (points.length === 1 || epochs <= 20) {
      for (const [px, py] of points) drawn.push(Rada.svg("circle", { cx: px, cy: py, r: 2.2, fill: colour }));
    }
  }
  return drawn;
};

// One row a class: every case a dot, the box from the first to the third quartile, the median a line.
Rada.distribution = (metric, key) => {
  const classes = Rada.report.classes;
  const rows = classes.map((one) => ({
    name: one.name, colour: one.colour,
    dots: Rada.report.cases.filter((each) => each.metrics && each.metrics[one.name] && each.metrics[one.name][key] !== null)
      .map((each) => ({ value: each.metrics[one.name][key], name: each.name, folder: each.folder }))
      .sort((a, b) => a.value - b.value),
  }));
  const values = rows.flatMap((row) => row.dots.map((dot) => dot.value));
  if (!values.length) return Rada.el("p", { class: "muted" }, "No case has this measure.");
  const bounded = metric === "dice" || metric === "jaccard";
  const [low, high] = [0, bounded ? 1 : Math.max(...values) * 1.05 || 1];
  const [width, rowHeight, left, right, top] = [720, 96, 14, 14, 4];
  const height = top + rows.length * rowHeight + 26;
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - right);
  const heard = rows.filter((row) => row.dots.length).map((row) =>
    `${row.name}: ${Rada.plural(row.dots.length, "case")}, median ${Rada.number(metric, quantile(row.dots, 0.5))}, ` +
    `from ${Rada.number(metric, row.dots[0].value)} to ${Rada.number(metric, row.dots[row.dots.length - 1].value)}`);
  const chart = Rada.svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "distribution", role: "group",
    "aria-label": `Distribution of ${Rada.metricNames[metric]}. ${heard.join(". ")}.` });
  for (const tick of Rada.ticks(low, high, 6)) {
    chart.append(
      Rada.svg("line", { x1: x(tick), x2: x(tick), y1: top, y2: height - 24, class: "grid" }),
      Rada.svg("text", { x: Math.min(Math.max(x(tick), 14), width - 14), y: height - 8, "text-anchor": "middle" }, String(tick)));
  }
  rows.forEach((row, index) => chart.append(Rada.distributionRow(metric, row, x, top + index * rowHeight, rowHeight)));
  return chart;
};

Rada.distributionRow = (metric, row, x, top, height) => {
  const group = Rada.svg("g", {}, Rada.svg("text", { x: 16, y: top + 15, class: "row-name" }, row.name));
  if (!row.dots.length) return group;
  const middle = top + 58;
  const [q1, q2, q3] = [0.25, 0.5, 0.75].map((share) => x(quantile(row.dots, share)));
  group.append(
    Rada.svg("rect", { x: q1, y: middle - 24, width: Math.max(q3 - q1, 1), height: 48, class: "box", rx: 3 }),
    Rada.svg("line", { x1: q2, x2: q2, y1: middle - 24, y2: middle + 24, class: "median" }));
  const taken = [];
  for (const dot of row.dots) {
    const cx = x(dot.value);
    const near = taken.filter((each) => Math.abs(each - cx) < 9).length;
    taken.push(cx);
    const level = DOT_LEVELS[near % DOT_LEVELS.length];
    group.append(Rada.svg("a", { href: Rada.caseAddress(dot.folder), tabindex: "-1" },
      Rada.svg("circle", { cx, cy: middle + level * 7, r: 4.5, fill: row.colour, class: "dot" },
        Rada.svg("title", {}, `${dot.name}: ${Rada.number(metric, dot.value)}`))));
  }
  return group;
};

// Linear interpolation between sorted values.
const quantile = (dots, share) => {
  const place = share * (dots.length - 1);
  const [below, above] = [dots[Math.floor(place)].value, dots[Math.ceil(place)].value];
  return below + (above - below) * (place - Math.floor(place));
};
