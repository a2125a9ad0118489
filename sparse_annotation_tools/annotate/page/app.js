// The page: what is shown, and what happens on a click, a stroke or a key.

import { ServerError, getBytes, getJson, listen, post } from "./api.js";
import { Autosave } from "./autosave.js";
import { SlicePaint } from "./slice_paint.js";
import { Viewer } from "./viewer.js";

const AXES = { sagittal: 0, coronal: 1, axial: 2 }; // of [x, y, z], across each view
const STATES = {
  todo: { mark: "○", text: "to do" },
  part: { mark: "◐", text: "begun" },
  done: { mark: "●", text: "finished" },
  empty: { mark: "●", text: "nothing here" },
};
const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
const choose = (name, value) => {
  const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
  if (input && !input.disabled) input.checked = true;
  return Boolean(input);
};

const viewer = new Viewer();
const autosave = new Autosave(tellSaved);
const paints = new Map(); // slice -> SlicePaint, with its history
let overview = null; // of all scans, as the server says
let scan = null; // the open one, as the server says
let current = null; // the slice that is worked on, one of scan.slices
let stroke = null; // what the pressed mouse button does
let pointer = null; // where the mouse is
let lost = false; // whether the server has gone, or another tab paints
let layer = ""; // which carried label is shown
let busy = 0;

// ---- the server

/** Do something that the server may refuse, and say so if it does. */
async function attempt(work) {
  busy += 1;
  show();
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    alarm(error.message);
  } finally {
    busy -= 1;
    show();
  }
}

function alarm(message) {
  $("alarm").textContent = message;
  $("alarm").hidden = !message;
}

function tellSaved(state, message = "") {
  $("saved").dataset.state = state;
  $("saved").textContent = { saved: "✓ all saved", busy: "saving…", lost: "not saved", refused: "not saved" }[state];
  if (state === "refused") alarm(message);
  else if (state === "lost") alarm(`The last stroke is not saved: ${message}. Leave this page open; it is tried again.`);
  else if (state === "saved" && !lost) alarm("");
}

function loseServer() {
  lost = true;
  alarm(
    "rada-annotate has ended. What is painted is saved" +
      (autosave.isSaved ? "" : " but for the last stroke") +
      ". To go on, type the same command again and open the address that it prints.",
  );
  show();
}

async function act(action, slice = current) {
  alarm("");
  await autosave.flush();
  const { view, index } = slice ?? { view: "axial", index: 0 };
  const answer = await post("act", { case: scan.case, action, view, index, number: autosave.next() });
  overview = answer.overview;
  Object.assign(scan, answer.scan);
  return find(view, index);
}

async function openScan(name, slice) {
  await autosave.flush();
  alarm("");
  $("busy").hidden = false;
  try {
    const opened = await post("open", { case: name });
    const [image, paint] = await Promise.all([
      getBytes("image", { case: name }),
      getBytes("painted", { case: name }),
    ]);
    paints.clear();
    layer = "";
    await viewer.load(image, new Uint8Array(paint));
    scan = opened;
    sessionStorage.setItem("case", name); // for a page that is loaded again
    setWindow(0.5, 0.5);
    overview = await getJson("overview");
    goTo(slice ?? scan.slices.find((each) => !each.done) ?? scan.slices[0]);
    await showLayer();
  } finally {
    $("busy").hidden = true;
  }
}

async function heard(event) {
  if (!scan || event.case !== scan.case) return;
  scan.preview = event.preview;
  show();
  await showLayer();
}

/** Bring the carried label that is asked for to the screen. */
async function showLayer() {
  const kind = chosen("layer");
  const { version, carried } = scan.preview;
  const query = { case: scan.case };
  if (kind === "slice" && current) Object.assign(query, { view: current.view, index: current.index });
  const isThere = version > 0 && kind !== "none"
    && (kind === "fused" || carried.some((each) => each.view === query.view && each.index === query.index));
  const wanted = isThere ? JSON.stringify([version, query]) : "none";
  if (wanted === layer) return;
  layer = wanted;
  const file = isThere ? await getBytes("layer", query) : null;
  if (wanted === layer) await viewer.setLayer(file);
}

// ---- slices

function find(view, index) {
  return scan.slices.find((each) => each.view === view && each.index === index) ?? null;
}

/** From a slice's number in the file to its place in the viewer, and back. */
function turned(view, index) {
  const { count, flipped } = scan.views[view];
  return flipped ? count - 1 - index : index;
}

function view() {
  const shown = chosen("view");
  return shown === "all" ? current?.view ?? "axial" : shown;
}

function position() {
  return viewer.voxel[AXES[view()]];
}

function isLooking() {
  return !current || chosen("view") === "all" || current.view !== view() || turned(view(), current.index) !== position();
}

function canPaint() {
  return Boolean(scan) && !lost && !isLooking() && !current.done && busy === 0;
}

function paint() {
  const key = `${current.view} ${current.index}`;
  if (!paints.has(key)) {
    const place = turned(current.view, current.index);
    paints.set(key, new SlicePaint(viewer.bitmap, viewer.dims, viewer.spacing, current.view, place));
  }
  return paints.get(key);
}

function goTo(slice) {
  current = slice;
  if (!slice) return;
  choose("view", slice.view);
  const voxel = viewer.voxel;
  voxel[AXES[slice.view]] = turned(slice.view, slice.index);
  viewer.resetView();
  viewer.show(slice.view, voxel);
  showLayer();
  show();
}

function scrollTo(place) {
  const voxel = viewer.voxel;
  const axis = AXES[view()];
  voxel[axis] = Math.min(viewer.dims[axis] - 1, Math.max(0, place));
  viewer.lookAt(voxel);
  current = find(view(), turned(view(), voxel[axis])) ?? current;
  show();
}

async function nextSlice() {
  const here = scan.slices.indexOf(current);
  const order = [...scan.slices.slice(here + 1), ...scan.slices.slice(0, here + 1)];
  const slice = order.find((each) => !each.done && each !== current);
  if (slice) return goTo(slice);
  const names = overview.scans.map((each) => each.case);
  const at = names.indexOf(scan.case);
  const others = [...overview.scans.slice(at + 1), ...overview.scans.slice(0, at)];
  const name = others.find((each) => each.state !== "done")?.case;
  if (name) return openScan(name);
  showFinish();
}

function finishSlice(action) {
  return attempt(async () => {
    current = await act(action);
    paints.delete(`${current.view} ${current.index}`);
    if (action === "empty") await reload();
    // What is carried from a scan's last slice is to be seen before the next scan.
    if (isFinished(scan)) show();
    else await nextSlice();
  });
}

function isFinished(one) {
  return one.slices.every((each) => each.done);
}

/** Fetch what is painted anew, where the server has changed it. */
async function reload() {
  viewer.bitmap.set(new Uint8Array(await getBytes("painted", { case: scan.case })));
  viewer.refreshAll();
}

async function markEmpty() {
  if (current.painted || paint().pixels().some((value) => value > 0)) {
    if (!(await ask("Erase what is painted on this slice, and say that nothing of the organ is on it?", "Erase it"))) return;
  }
  await finishSlice("empty");
}

function ask(question, yes) {
  $("ask-text").textContent = question;
  $("ask-yes").textContent = yes;
  $("ask").returnValue = "no";
  $("ask").showModal();
  return new Promise((resolve) => {
    $("ask").addEventListener("close", () => resolve($("ask").returnValue === "yes"), { once: true });
  });
}

// ---- strokes

function changed() {
  const slice = paint();
  // Slices cross: what another one remembers of their common line is out of date now.
  paints.clear();
  paints.set(`${current.view} ${current.index}`, slice);
  viewer.refreshSlice(slice.across, slice.position);
  current.painted = slice.pixels().some((value) => value > 0); // the server knows better, after the next action
  autosave.mark({ case: scan.case, view: current.view, index: current.index }, slice.pixels());
  show();
}

/** The pixel [u, v] of the current slice under a point. */
function pixelAt(x, y) {
  const hit = viewer.pick(x, y);
  return hit && hit.view === current.view ? paint().axes.map((axis) => hit.voxel[axis]) : null;
}

function pressed(event) {
  $("pointer").focus({ preventScroll: true });
  $("pointer").setPointerCapture(event.pointerId);
  const at = [event.offsetX, event.offsetY];
  if (event.button === 1 || event.altKey) stroke = { kind: "move", at };
  else if (event.button === 2) stroke = { kind: "window", at, level: +$("level").value, width: +$("window").value };
  else if (event.button === 0 && chosen("view") === "all") lookUnder(at);
  else if (event.button === 0 && canPaint()) beginStroke(at, event.shiftKey);
  event.preventDefault();
}

function lookUnder(at) {
  const hit = viewer.pick(...at);
  if (hit) viewer.lookAt(hit.voxel);
  show();
}

function beginStroke(at, erase) {
  const pixel = pixelAt(...at);
  if (!pixel) return;
  const tool = erase ? "eraser" : chosen("tool");
  const value = tool === "eraser" ? 0 : +chosen("class");
  const slice = paint();
  slice.begin();
  if (tool === "fill") {
    if (slice.fill(pixel, value)) {
      alarm("");
      return changed();
    }
    slice.past.pop();
    return alarm("The outline around this point is open: the fill would run out to the edge. Close the outline first.");
  }
  const size = tool === "outline" ? 1 : +$("size").value;
  stroke = { kind: "paint", tool, value, size, slice, last: pixel, points: [pixel] };
  slice.stamp(pixel, size, value);
  viewer.refreshSlice(slice.across, slice.position);
}

function moved(event) {
  const at = [event.offsetX, event.offsetY];
  pointer = at;
  if (stroke?.kind === "paint") {
    // The browser reports several points at once when the hand is fast.
    const points = event.getCoalescedEvents?.() ?? [];
    for (const each of points.length ? points : [event]) continueStroke([each.offsetX, each.offsetY]);
    viewer.refreshSlice(stroke.slice.across, stroke.slice.position);
  } else if (stroke?.kind === "move") {
    viewer.move(stroke.at, at);
    stroke.at = at;
  } else if (stroke?.kind === "window") {
    setWindow(
      (stroke.level + (stroke.at[1] - at[1]) / 5) / 100,
      (stroke.width + (stroke.at[0] - at[0]) / 5) / 100,
    );
  }
  showPointer();
}

function continueStroke(at) {
  const pixel = pixelAt(...at);
  if (!pixel || (pixel[0] === stroke.last[0] && pixel[1] === stroke.last[1])) return;
  stroke.slice.line(stroke.last, pixel, stroke.size, stroke.value);
  stroke.last = pixel;
  stroke.points.push(pixel);
}

function released() {
  const ended = stroke;
  stroke = null;
  if (ended?.kind !== "paint") return;
  if (ended.tool === "outline") ended.slice.outline(ended.points, ended.value);
  changed();
}

function undo(how) {
  if (canPaint() && !stroke && paint()[how]()) changed();
}

// ---- what is shown

function stateOf(slice) {
  if (slice.done) return slice.painted ? "done" : "empty";
  return slice.painted ? "part" : "todo";
}

function title(slice) {
  return `${slice.view[0].toUpperCase()}${slice.view.slice(1)} ${slice.index}`;
}

/** A list of buttons, kept in place so that the focus stays. */
function list(element, items, clicked) {
  while (element.children.length > items.length) element.lastChild.remove();
  items.forEach((item, k) => {
    let button = element.children[k]?.firstChild;
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.append(...["mark", "name", "count"].map((name) => {
        const span = document.createElement("span");
        span.className = name;
        return span;
      }));
      button.firstChild.ariaHidden = "true";
      const row = document.createElement("li");
      row.append(button);
      element.append(row);
    }
    const [mark, name, count] = button.children;
    mark.textContent = STATES[item.state].mark;
    name.textContent = item.name;
    count.textContent = item.count;
    button.dataset.state = item.state;
    button.ariaCurrent = String(item.current);
    button.onclick = () => clicked(k);
  });
}

function show() {
  if (!overview) return;
  const finished = overview.scans.reduce((sum, each) => sum + each.done, 0);
  const all = overview.scans.reduce((sum, each) => sum + each.slices, 0);
  Object.assign($("progress"), { max: all, value: finished });
  $("progress-text").textContent = `${finished} of ${all} slices finished`;
  list($("scans"), overview.scans.map((each) => ({
    state: each.state, name: each.case, count: `${each.done}/${each.slices}`, current: each.case === scan?.case,
  })), (k) => attempt(() => openScan(overview.scans[k].case)));
  if (scan) showScan();
}

function showScan() {
  const shown = view();
  const index = turned(shown, position());
  const looking = isLooking();
  const three = chosen("view") === "all";
  $("case-name").textContent = scan.case;
  list($("slices"), scan.slices.map((each) => ({
    state: stateOf(each), name: title(each), count: STATES[stateOf(each)].text, current: each === current && !looking,
  })), (k) => goTo(scan.slices[k]));
  $("slice-name").textContent = three ? "All three views" : title({ view: shown, index });
  $("slice-state").textContent = three ? "" : looking ? "not chosen" : STATES[stateOf(current)].text;
  $("picture").dataset.paint = canPaint() ? "yes" : "no";
  Object.assign($("position"), { max: viewer.dims[AXES[shown]] - 1, value: position(), disabled: three });
  $("position").setAttribute("aria-valuetext", title({ view: shown, index }));
  $("notice").hidden = lost || busy > 0 || canPaint();
  $("notice-text").textContent = three ? "Click to look around."
    : looking ? "You are looking at a slice that is not chosen."
    : isFinished(scan) ? `All slices of ${scan.case} are finished. Look around, then go on.` : "This slice is finished.";
  $("back").hidden = !looking || !current;
  $("back").textContent = current ? `Back to ${title(current)}` : "";
  $("add").hidden = !looking || three;
  $("reopen").hidden = looking;
  for (const id of ["done", "empty", "remove"]) $(id).disabled = !canPaint();
  $("done").hidden = !looking && current.done;
  $("next").hidden = !$("done").hidden;
  $("next-text").textContent = isFinished(scan) ? "Next scan" : "Next slice";
  $("suggest").disabled = lost || busy > 0;
  $("undo").disabled = !canPaint() || !paint().past.length;
  $("redo").disabled = !canPaint() || !paint().future.length;
  showPreviewState();
  showPointer();
}

function showPreviewState() {
  const { state, message } = scan.preview;
  $("preview-state").dataset.state = state;
  $("preview-state").textContent = {
    none: "Finish a slice to see it carried through the scan.",
    working: "Being computed…",
    ready: "Ready.",
    failed: `Failed: ${message}`,
  }[state];
}

/** The size of the brush under the mouse. */
function showPointer() {
  $("size-text").textContent = $("size").value;
  const isBrush = pointer && canPaint() && ["brush", "eraser"].includes(chosen("tool"));
  const pixel = isBrush && viewer.pixel();
  for (const ellipse of document.querySelectorAll("#pointer ellipse")) {
    ellipse.setAttribute("visibility", pixel ? "visible" : "hidden");
    if (!pixel) continue;
    const [du, dv] = paint().spacing;
    const radius = (+$("size").value * Math.min(du, dv)) / 2;
    const [rx, ry] = [(radius / du) * pixel.width, (radius / dv) * pixel.height];
    for (const [name, value] of Object.entries({ cx: pointer[0], cy: pointer[1], rx, ry })) ellipse.setAttribute(name, value);
  }
}

function setWindow(level, width) {
  $("level").value = 100 * Math.min(1, Math.max(0, level));
  $("window").value = 100 * Math.min(1, Math.max(0.01, width));
  viewer.setWindow($("level").value / 100, $("window").value / 100);
}

function resetPicture() {
  viewer.resetView();
  setWindow(0.5, 0.5);
}

function zoom(factor, at) {
  viewer.zoom(factor, ...(at ?? [$("pointer").clientWidth / 2, $("pointer").clientHeight / 2]));
  showPointer();
}

function showView() {
  viewer.resetView();
  viewer.show(chosen("view"));
  current = (chosen("view") !== "all" && find(view(), turned(view(), position()))) || current;
  show();
}

function showFinish() {
  const finished = overview.scans.filter((each) => each.done);
  const slices = finished.reduce((sum, each) => sum + each.done, 0);
  const left = overview.scans.length - finished.length;
  const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  $("finish-text").textContent = finished.length
    ? `Finished: ${counted(slices, "slice")} of ${counted(finished.length, "scan")}.` +
      (left ? ` Used without labels: ${counted(left, "scan")}. You need not paint them all.` : "")
    : "No slice is finished yet. Paint at least one first.";
  $("command").value = overview.command;
  $("finish").showModal();
}

// ---- controls

function addClasses() {
  for (const { name, value, colour } of overview.classes) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "class", value, checked: value === 1 });
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    swatch.setAttribute("viewBox", "0 0 22 22");
    swatch.setAttribute("aria-hidden", "true");
    const square = document.createElementNS(swatch.namespaceURI, "rect");
    for (const [key, text] of Object.entries({ width: 22, height: 22, rx: 5, fill: colour })) square.setAttribute(key, text);
    swatch.append(square);
    const text = Object.assign(document.createElement("span"), { textContent: name });
    label.append(input, swatch, text);
    if (value < 10) label.append(Object.assign(document.createElement("kbd"), { textContent: String(value) }));
    $("classes").append(label);
  }
}

const KEYS = {
  b: () => choose("tool", "brush"),
  o: () => choose("tool", "outline"),
  f: () => choose("tool", "fill"),
  e: () => choose("tool", "eraser"),
  "[": () => ($("size").value = +$("size").value - 1),
  "]": () => ($("size").value = +$("size").value + 1),
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: resetPicture,
  n: () => attempt(nextSlice),
  Enter: () => ($("done").hidden ? $("next") : $("done")).click(),
  ArrowUp: () => scrollTo(position() + 1),
  ArrowDown: () => scrollTo(position() - 1),
  h: togglePaint,
  l: nextLayer,
  v: toggleThree,
  "?": () => $("help").showModal(),
};

function togglePaint() {
  const hidden = $("opacity").value === "0";
  if (!hidden) $("opacity").dataset.before = $("opacity").value;
  $("opacity").value = hidden ? $("opacity").dataset.before ?? "50" : "0";
  viewer.setPaintOpacity($("opacity").value / 100);
}

function nextLayer() {
  const kinds = ["fused", "slice", "none"];
  choose("layer", kinds[(kinds.indexOf(chosen("layer")) + 1) % kinds.length]);
  showLayer();
}

function toggleThree() {
  if (chosen("view") === "all") return goTo(current);
  choose("view", "all");
  showView();
}

function keyed(event) {
  if (!scan || stroke || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    const how = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
    if (how) {
      undo(how);
      event.preventDefault();
    }
    return;
  }
  // A control that has the focus keeps the keys that work it.
  const own = event.target.matches?.("button, input, textarea");
  if (own && (key === "Enter" || key === " " || key.startsWith("Arrow"))) return;
  const number = /^[1-9]$/.test(key) ? key : null;
  if (number) choose("class", number);
  else if (Object.hasOwn(KEYS, key)) KEYS[key]();
  else return;
  event.preventDefault();
  showPointer();
}

function connect() {
  const area = $("pointer");
  area.addEventListener("pointerdown", pressed);
  area.addEventListener("pointermove", moved);
  area.addEventListener("pointerup", released);
  area.addEventListener("pointercancel", released);
  area.addEventListener("pointerleave", () => { pointer = null; showPointer(); });
  area.addEventListener("contextmenu", (event) => event.preventDefault());
  area.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!scan || stroke) return;
    if (event.ctrlKey) zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, [event.offsetX, event.offsetY]);
    else if (chosen("view") !== "all") scrollTo(position() + (event.deltaY < 0 ? 1 : -1));
  }, { passive: false });
  document.addEventListener("keydown", keyed);
  window.addEventListener("resize", showPointer);
  window.addEventListener("beforeunload", (event) => { if (!autosave.isSaved) event.preventDefault(); });
  const clicks = {
    "help-button": () => $("help").showModal(),
    "finish-button": showFinish,
    copy: () => { $("command").select(); navigator.clipboard?.writeText($("command").value); },
    "previous-position": () => scrollTo(position() - 1),
    "next-position": () => scrollTo(position() + 1),
    back: () => goTo(current),
    add: () => attempt(async () => goTo(await act("add", { view: view(), index: turned(view(), position()) }))),
    reopen: () => attempt(async () => goTo(await act("reopen"))),
    remove: () => attempt(async () => {
      await act("remove");
      paints.delete(`${current.view} ${current.index}`);
      await reload();
      goTo(scan.slices.find((each) => !each.done) ?? scan.slices[0] ?? null);
    }),
    suggest: () => attempt(async () => {
      const before = scan.slices.length;
      await act("suggest");
      goTo(scan.slices[before] ?? current);
    }),
    empty: markEmpty,
    done: () => finishSlice("finish"),
    next: () => attempt(nextSlice),
    undo: () => undo("undo"),
    redo: () => undo("redo"),
    "zoom-in": () => zoom(1.25),
    "zoom-out": () => zoom(0.8),
    reset: resetPicture,
  };
  for (const [id, clicked] of Object.entries(clicks)) $(id).addEventListener("click", clicked);
  $("position").addEventListener("input", (event) => scrollTo(+event.target.value));
  $("opacity").addEventListener("input", (event) => viewer.setPaintOpacity(event.target.value / 100));
  $("size").addEventListener("input", showPointer);
  for (const id of ["level", "window"]) {
    $(id).addEventListener("input", () => viewer.setWindow($("level").value / 100, $("window").value / 100));
  }
  $("views").addEventListener("change", showView);
  $("layers").addEventListener("change", showLayer);
}

async function start() {
  // A page that is being reloaded gives its place back within moments.
  for (let left = 10; ; left--) {
    try {
      overview = await post("take", {});
      break;
    } catch (error) {
      if (left === 0 || error.status === 0) {
        $("busy").hidden = true;
        return alarm(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  listen(heard, loseServer);
  addClasses();
  await viewer.attach($("viewer"), overview.classes.map((each) => each.colour));
  viewer.setPaintOpacity($("opacity").value / 100);
  connect();
  tellSaved("saved");
  const last = sessionStorage.getItem("case");
  const first = overview.scans.find((each) => each.case === last)
    ?? overview.scans.find((each) => each.state === "part")
    ?? overview.scans.find((each) => each.state === "todo") ?? overview.scans[0];
  await attempt(() => openScan(first.case));
}

await start();
document.documentElement.dataset.ready = "true";
