// Building blocks. Every text of the report goes into text nodes and attributes, never into markup: names of cases and
// classes are whatever people typed.
"use strict";

const Rada = { report: null, volumes: new Map(), waiting: new Map() };

// An element: el("button", { class: "plain", onclick: f }, "text", child, ...). null and false leave an attribute out.
Rada.el = (tag, attributes, ...children) => Rada.fill(document.createElement(tag), attributes, children);

Rada.svg = (tag, attributes, ...children) =>
  Rada.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

Rada.fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return element;
};

// Said to screen readers.
Rada.say = (text) => {
  document.getElementById("status").textContent = text;
};

Rada.metricNames = {
  dice: "Dice", jaccard: "Jaccard", hd95: "HD95", asd: "ASD", assd: "ASSD",
};

// 0.8312 -> "0.831", 12.345 mm -> "12.3"; null -> "–".
Rada.number = (metric, value) => {
  if (value === null || value === undefined) return "–";
  return metric === "dice" || metric === "jaccard" ? value.toFixed(3) : value.toFixed(value < 10 ? 2 : 1);
};

Rada.plural = (count, one, many) => `${count} ${count === 1 ? one : many || one + "s"}`;

Rada.caseAddress = (folder) => `#case/${encodeURIComponent(folder)}`;

// The mean Dice of a case's classes; null where it has none.
Rada.meanDice = (one) => {
  const values = Object.values(one.metrics || {}).map((row) => row.dice).filter((value) => value !== null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
};

Rada.worstFirst = (cases) =>
  [...cases].sort((a, b) => {
    const [x, y] = [Rada.meanDice(a), Rada.meanDice(b)];
    if (x === y) return a.name < b.name ? -1 : 1;
    if (x === null || y === null) return x === null ? 1 : -1;
    return x - y;
  });

Rada.classColour = (name) => Rada.report.classes.find((one) => one.name === name).colour;

Rada.swatch = (colour) => {
  const sample = Rada.el("span", { class: "swatch", "aria-hidden": "true" });
  sample.style.background = colour;
  return sample;
};

// A command to copy.
Rada.command = (text) => {
  const button = Rada.el("button", { type: "button", class: "small", "aria-label": `Copy the command ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      Rada.say("Copied");
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
    }
  });
  return Rada.el("div", { class: "command" }, Rada.el("code", { tabindex: "0" }, text), button);
};

Rada.section = (id, title, ...children) =>
  Rada.el("section", { id, class: "card", "aria-labelledby": `${id}-title` },
    Rada.el("h2", { id: `${id}-title` }, title), ...children);
