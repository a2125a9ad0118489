// The page of one case: facts, measures, thumbnails, and the viewer with its controls.
"use strict";

const GROUPS = [
  ["drawn", "Drawn slices", "What was annotated, in the classes' colours."],
  ["propagated", "Propagated labels", "Carried through the scan from each slice, and fused from all, on a slice where nobody drew."],
  ["predicted", "Prediction", "Where the organ is largest."],
];
const KEYS = "Keys in the picture: ↑ ↓ one slice, Page up / Page down ten, ← → the next plane sideways, M A C S R the views, " +
  "X the crosshair, 1 to 9 the layers. The mouse wheel scrolls, dragging moves the crosshair.";

Rada.showCase = (one) => {
  const place = document.getElementById("case");
  const sorted = Rada.worstFirst(Rada.report.cases);
  const at = sorted.indexOf(one);
  const step = (to, text) => to && Rada.el("a", { href: Rada.caseAddress(to.folder), class: "plain" }, text);
  place.replaceChildren(
    Rada.el("nav", { class: "steps", "aria-label": "Cases" },
      Rada.el("a", { href: "#cases", class: "plain" }, "← All cases"),
      Rada.el("span", {}, step(sorted[at - 1], "‹ Previous"), " ", step(sorted[at + 1], "Next ›"))),
    Rada.el("h1", { tabindex: "-1", id: "case-title" }, one.name),
    Rada.el("p", { class: "lead" }, Rada.el("span", { class: `role ${one.role}` }, one.role),
      ` ${one.axes.map((axis) => axis.slices).join(" × ")} voxels of ${one.spacing_mm.join(" × ")} mm (axial × coronal × sagittal)`),
    Rada.caseFacts(one), Rada.viewerSection(one), ...Rada.thumbnailSections(one));
};

Rada.caseFacts = (one) => {
  const networks = (number) => Object.entries(one.networks).filter(([, numbers]) => numbers.includes(number)).map(([name]) => name);
  const measures = Object.entries(one.metrics || {}).map(([name, row]) => Rada.el("div", { class: "tile" },
    Rada.el("div", { class: "big" }, Rada.number("dice", row.dice)),
    Rada.el("div", { class: "label" }, Rada.swatch(Rada.classColour(name)), `Dice, ${name}`),
    Rada.el("div", { class: "muted" }, `HD95 ${Rada.number("hd95", row.hd95_mm)} mm, ASSD ${Rada.number("assd", row.assd_mm)} mm`)));
  return Rada.el("div", {}, measures.length ? Rada.el("div", { class: "tiles few" }, measures) : null,
    one.slices.length ? Rada.el("p", {}, "Drawn: ", one.slices.map((each, number) =>
      `${each.view} ${each.index}${networks(number).length ? ` (network ${networks(number).join(", ")})` : ""}`).join(", "),
    Rada.el("span", { class: "muted" }, ". Slices are counted from 0, as in the scan's file.")) : null);
};

Rada.thumbnailSections = (one) => GROUPS.map(([group, title, text]) => {
  const shown = one.thumbnails.filter((each) => each.group === group);
  if (!shown.length) return null;
  const truth = shown.some((each) => each.has_truth);
  const doubt = shown.some((each) => each.has_doubt);
  return Rada.section(`${group}-pictures`, title,
    Rada.el("p", { class: "muted" }, text, truth && " White outline: truth.", doubt && " Purple: unsure."),
    Rada.el("div", { class: "thumbnails" }, shown.map((each) => Rada.el("figure", {},
      Rada.el("div", { class: "picture" }, Rada.el("img", { src: `cases/${one.folder}/${each.file}`, width: each.width, height: each.height,
        loading: "lazy", decoding: "async", alt: `${one.name}, ${title.toLowerCase()}: ${Rada.thumbnailTitle(one, each)}` })),
      Rada.el("figcaption", {}, Rada.thumbnailTitle(one, each))))));
}).filter(Boolean);

// Drawn slices have the number that they have in the scan's file.
Rada.thumbnailTitle = (one, { file, title }) => {
  const [, number] = file.match(/^drawn_(\d+)\.png$/) || [];
  return number === undefined ? title : `${title} ${one.slices[Number(number)].index}`;
};

// --- the viewer ------------------------------------------------------------------------------------------------------

Rada.viewerSection = (one) => {
  const canvas = Rada.el("canvas", { id: "canvas", tabindex: "0", role: "application", "aria-label": `Slices of ${one.name}`,
    "aria-describedby": "keys where" });
  const message = Rada.el("p", { class: "message", role: "status" }, "Loading the scan …");
  const where = Rada.el("p", { id: "where", class: "where" });
  const panel = Rada.el("div", { class: "panel" });
  const viewer = new Rada.Viewer(one, canvas);
  Rada.viewer?.stop();
  Rada.viewer = viewer;
  viewer.start().then(() => {
    if (viewer.isStopped) return;
    message.hidden = true;
    panel.append(...Rada.viewerControls(viewer, where));
    Rada.viewerKeys(viewer, canvas);
    canvas.dataset.ready = "true";
  }).catch((error) => {
    if (viewer.isStopped) return;
    message.textContent = `The viewer cannot start (${error.message}). It needs WebGL 2; the pictures below do not.`;
  });
  const coarser = one.axes.some((axis) => axis.factor > 1);
  return Rada.section("viewer", "Viewer",
    Rada.el("div", { class: "viewer" }, Rada.el("div", { class: "stage" }, canvas, message), panel),
    where,
    Rada.el("p", { id: "keys", class: "muted" }, KEYS),
    Rada.el("p", { class: "muted" }, "The image has 256 grey levels here",
      coarser ? `, and ${one.axes.map((axis) => axis.factor).join(" × ")} voxels are shown as one. ` : ". ",
      "The patient's right is on the left side. For research, not for diagnosis."));
};

Rada.viewerControls = (viewer, where) => {
  const sliders = Rada.sliceSliders(viewer);
  const crosshair = Rada.el("input", { type: "checkbox", id: "crosshair", checked: true });
  crosshair.addEventListener("change", () => viewer.setCrosshair(crosshair.checked));
  const views = Rada.el("div", { class: "buttons", role: "group", "aria-label": "View" }, VIEWS.map(([view, text]) =>
    Rada.el("button", { type: "button", "data-view": view, "aria-pressed": String(view === viewer.view), onclick: () => viewer.showView(view) }, text)));
  viewer.showView = (view) => {
    viewer.setView(view);
    for (const button of views.children) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  };
  viewer.toggleCrosshair = () => crosshair.click();
  viewer.onMove = () => {
    sliders.update();
    where.replaceChildren(...viewer.values().flatMap(([title, value], index) =>
      [index ? " · " : "At the crosshair: ", Rada.el("span", {}, `${title} `), Rada.el("strong", {}, value)]));
  };
  viewer.onMove();
  return [views, sliders.element,
    Rada.el("p", { class: "controls" }, Rada.el("span", {}, crosshair, Rada.el("label", { for: "crosshair" }, " Crosshair"))),
    Rada.drawnButtons(viewer), Rada.layerControls(viewer)];
};

Rada.sliceSliders = (viewer) => {
  const rows = viewer.one.axes.map(({ view, slices }, axis) => {
    const slider = Rada.el("input", { type: "range", id: `slice-${view}`, min: 0, max: slices - 1, step: 1 });
    const shown = Rada.el("output", { for: `slice-${view}` });
    slider.addEventListener("input", () => viewer.setSlice(axis, Number(slider.value)));
    return { axis, slider, shown, last: slices - 1, element: Rada.el("div", { class: "slice" },
      Rada.el("label", { for: `slice-${view}` }, `${view[0].toUpperCase()}${view.slice(1)} slice`), slider, shown) };
  });
  const update = () => rows.forEach(({ axis, slider, shown, last }) => {
    const index = viewer.slice(axis);
    if (Number(slider.value) !== index && document.activeElement !== slider) slider.value = index;
    shown.textContent = `${index} of ${last}`;
  });
  return { element: Rada.el("div", { class: "slices" }, rows.map((row) => row.element)), update };
};

Rada.drawnButtons = (viewer) => viewer.one.slices.length
  ? Rada.el("div", { class: "buttons", role: "group", "aria-label": "Go to a drawn slice" }, viewer.one.slices.map((each) =>
    Rada.el("button", { type: "button", onclick: () => {
      viewer.setSlice(each.axis, each.index);
      Rada.say(`${each.view} slice ${each.index}`);
    } }, `Drawn: ${each.view} ${each.index}`)))
  : "";

Rada.layerControls = (viewer) => {
  const rows = viewer.one.layers.map((layer, number) => {
    const settings = viewer.settings.get(layer.name);
    const id = `layer-${layer.name}`;
    const box = Rada.el("input", { type: "checkbox", id, checked: settings.on });
    const opacity = Rada.el("input", { type: "range", min: 0, max: 1, step: 0.05, value: settings.opacity, "aria-label": `Opacity of ${layer.title}` });
    const outline = layer.kind === "label" && Rada.el("input", { type: "checkbox", id: `${id}-outline`,
      checked: settings.style === "outline" });
    const failed = (error) => Rada.say(error.message);
    box.addEventListener("change", () => {
      Rada.say(`${layer.title} ${box.checked ? "shown" : "hidden"}`);
      viewer.set(layer.name, { on: box.checked }).then(viewer.onMove).catch(failed);
    });
    opacity.addEventListener("input", () => viewer.set(layer.name, { opacity: Number(opacity.value) }));
    if (outline) outline.addEventListener("change", () => viewer.set(layer.name, { style: outline.checked ? "outline" : "fill" }));
    return Rada.el("div", { class: "layer" },
      Rada.el("div", { class: "name" }, box, Rada.el("label", { for: id }, layer.title), number < 9 && Rada.el("kbd", { "aria-hidden": "true" }, String(number + 1))),
      Rada.el("div", { class: "fine" }, opacity, outline && Rada.el("span", {}, outline, Rada.el("label", { for: `${id}-outline` }, " outline"))));
  });
  const kinds = viewer.one.layers.map((layer) => layer.kind);
  return Rada.el("fieldset", {}, Rada.el("legend", {}, "Layers"), rows,
    Rada.el("ul", { class: "legend" },
      Rada.report.classes.map((one) => Rada.el("li", {}, Rada.swatch(one.colour), one.name)),
      kinds.includes("errors") && ERROR_KINDS.map(([colour, text]) => Rada.el("li", {}, Rada.swatch(colour), text)),
      kinds.includes("doubt") && Rada.el("li", {}, Rada.swatch(Rada.report.doubt_colour), "unsure")));
};

// Keys work while the picture has the focus; NiiVue's own would alter things that no control shows.
Rada.viewerKeys = (viewer, canvas) => {
  const axes = { axial: 0, coronal: 1, sagittal: 2, multiplanar: 0, render: 0 };
  const pressed = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.key === "Tab" || event.key === "Escape") return;
    event.stopImmediatePropagation();
    if (event.type !== "keydown") return;
    const axis = axes[viewer.view];
    const sideways = axis === 2 ? 1 : 2;
    const key = event.key.toLowerCase();
    const actions = {
      arrowup: () => viewer.step(axis, 1), arrowdown: () => viewer.step(axis, -1),
      pageup: () => viewer.step(axis, 10), pagedown: () => viewer.step(axis, -10),
      arrowright: () => viewer.step(sideways, 1), arrowleft: () => viewer.step(sideways, -1),
      x: () => viewer.toggleCrosshair(),
    };
    if (VIEW_KEYS[key]) actions[key] = () => viewer.showView(VIEW_KEYS[key]);
    const layer = /^[1-9]$/.test(key) && viewer.one.layers[Number(key) - 1];
    if (layer) actions[key] = () => document.getElementById(`layer-${layer.name}`).click();
    if (!actions[key]) return;
    event.preventDefault();
    actions[key]();
    if (key.startsWith("arrow") || key.startsWith("page")) {
      const view = viewer.one.axes[key.includes("left") || key.includes("right") ? sideways : axis];
      Rada.say(`${view.view} slice ${viewer.slice(viewer.one.axes.indexOf(view))}`);
    }
  };
  for (const type of ["keydown", "keyup", "keypress"]) canvas.parentElement.addEventListener(type, pressed, { capture: true });
};
