// The viewer of one case: NiiVue, fed from memory with volumes that scripts beside the page hand over on demand.
"use strict";

const VIEWS = [["multiplanar", "All planes"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["render", "3D"]];
const VIEW_KEYS = { m: "multiplanar", a: "axial", c: "coronal", s: "sagittal", r: "render" };
const ERROR_KINDS = [["#56B4E9", "missed"], ["#D55E00", "too much"], ["#F0E442", "other class"]];
const SHOWN_FIRST = [["prediction", "truth"], ["fused", "annotation"]];
const TRUTH_OUTLINE = [255, 255, 255];
const OUTLINED = ["annotation", "truth"]; // at first
const CROSSHAIR_SHARE = 0.004; // thickness of the crosshair, of the scan's longest side

// Called by the scripts of volumes.
Rada.receiveVolume = (key, base64) => {
  const waiting = Rada.waiting.get(key);
  if (waiting) waiting(base64);
};

Rada.loadVolume = (folder, name) => new Promise((resolve, reject) => {
  const key = `${folder}/${name}`;
  const script = Rada.el("script", { src: `cases/${encodeURIComponent(folder)}/${name}.js` });
  const done = () => {
    Rada.waiting.delete(key);
    script.remove();
  };
  Rada.waiting.set(key, (base64) => {
    done();
    resolve(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
  });
  script.addEventListener("error", () => {
    done();
    reject(new Error(`cases/${folder}/${name}.js is missing; make the report again`));
  });
  document.head.append(script);
});

// NiiVue is 2 MB: loaded with the first case.
Rada.loadNiivue = () => {
  Rada.niivueLoading ??= new Promise((resolve, reject) => {
    const script = Rada.el("script", { src: "assets/niivue/niivue.umd.js" });
    script.addEventListener("load", () => resolve(window.niivue));
    script.addEventListener("error", () => reject(new Error("assets/niivue/niivue.umd.js is missing; make the report again")));
    document.head.append(script);
  });
  return Rada.niivueLoading;
};

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

const labelColours = (entries) => ({
  R: entries.map(([, colour]) => colour[0]), G: entries.map(([, colour]) => colour[1]), B: entries.map(([, colour]) => colour[2]),
  A: entries.map(([value, , alpha]) => (value === 0 ? 0 : alpha ?? 255)), I: entries.map(([value]) => value),
});

// The colours of a layer's values.
Rada.layerColours = (layer, style) => {
  const { classes, doubt_colour: doubt } = Rada.report;
  if (layer.kind === "doubt") {
    // As in the thumbnails: a coin's toss (127 of 255) is the strongest.
    return labelColours(Array.from({ length: 256 }, (_, value) => [value, rgb(doubt), Math.min(255, 2 * value)]));
  }
  if (layer.kind === "errors") {
    return labelColours([[0, [0, 0, 0]], ...ERROR_KINDS.map(([colour], index) => [index + 1, rgb(colour)])]);
  }
  const white = layer.name === "truth" && style === "outline";
  return labelColours([[0, [0, 0, 0]], ...classes.map((one) => [one.value, white ? TRUTH_OUTLINE : rgb(one.colour)])]);
};

// Only the voxels of a label that touch another value.
Rada.outlined = (values, [nx, ny, nz]) => {
  const edges = new Uint8Array(values.length);
  for (let z = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) {
    const at = x + nx * (y + ny * z);
    const value = values[at];
    if (!value) continue;
    const isInside = x > 0 && x < nx - 1 && y > 0 && y < ny - 1 && z > 0 && z < nz - 1 &&
      values[at - 1] === value && values[at + 1] === value && values[at - nx] === value && values[at + nx] === value &&
      values[at - nx * ny] === value && values[at + nx * ny] === value;
    if (!isInside) edges[at] = value;
  }
  return edges;
};

// The edges of what was drawn, on each drawn plane by itself: in the volume a plane is nothing but edge.
Rada.outlinedPlanes = (values, size, planes) => {
  const edges = new Uint8Array(values.length);
  const steps = [1, size[0], size[0] * size[1]];
  for (const [axis, index] of planes) {
    const [u, v] = [0, 1, 2].filter((each) => each !== axis);
    for (let j = 0; j < size[v]; j++) for (let i = 0; i < size[u]; i++) {
      const at = index * steps[axis] + i * steps[u] + j * steps[v];
      const value = values[at];
      const isInside = i > 0 && i < size[u] - 1 && j > 0 && j < size[v] - 1 && values[at - steps[u]] === value &&
        values[at + steps[u]] === value && values[at - steps[v]] === value && values[at + steps[v]] === value;
      if (value && !isInside) edges[at] = value;
    }
  }
  return edges;
};

Rada.Viewer = class {
  constructor(one, canvas) {
    this.one = one;
    this.canvas = canvas;
    this.loaded = new Map(); // layer name -> { layer, volume, values }
    this.settings = new Map(one.layers.map((layer) => [layer.name, {
      on: layer.kind === "image", opacity: layer.kind === "image" ? 1 : OUTLINED.includes(layer.name) ? 0.9 : 0.5,
      style: OUTLINED.includes(layer.name) ? "outline" : "fill" }]));
    this.view = "multiplanar";
    this.onMove = () => {};
    const first = SHOWN_FIRST.find((names) => this.settings.has(names[0])) || [];
    for (const name of first) if (this.settings.has(name)) this.settings.get(name).on = true;
  }

  async start() {
    this.niivue = await Rada.loadNiivue();
    this.nv = new this.niivue.Niivue({
      isRadiologicalConvention: true, sagittalNoseLeft: true, show3Dcrosshair: true, backColor: [0.05, 0.06, 0.08, 1],
      crosshairColor: [1, 0.85, 0.2, 0.9], crosshairWidth: this.crosshairMm(), crosshairWidthUnit: "mm", fontColor: [1, 1, 1, 1], multiplanarEqualSize: false, multiplanarShowRender: 1, multiplanarLayout: 2,
      isColorbar: false, dragAndDropEnabled: false, isOrientCube: false, tileMargin: 4, multiplanarPadPixels: 4, logLevel: "error",
      loadingText: "",
    });
    await this.nv.attachToCanvas(this.canvas);
    if (this.isStopped) return this.stop(); // the reader has gone on meanwhile
    this.nv.onLocationChange = () => this.onMove();
    for (const layer of this.one.layers.filter(({ name }) => this.settings.get(name).on)) await this.load(layer);
    if (this.isStopped) return;
    this.nv.setInterpolation(true); // voxels as they are
    this.setView(this.view);
    this.goToFocus();
  }

  stop() {
    this.isStopped = true;
    if (!this.nv) return;
    this.nv.cleanup?.();
    this.nv.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  async load(layer) {
    const buffer = await Rada.loadVolume(this.one.folder, layer.name);
    const volume = await this.niivue.NVImage.loadFromUrl({ url: `${layer.name}.nii.gz`, name: `${layer.name}.nii.gz`, buffer,
      colormap: "gray", opacity: this.settings.get(layer.name).opacity });
    const place = this.one.layers.filter((each) => this.loaded.has(each.name) && this.one.layers.indexOf(each) < this.one.layers.indexOf(layer)).length;
    this.loaded.set(layer.name, { layer, volume, values: volume.img.slice() });
    if (layer.kind !== "image") this.paint(layer);
    this.nv.addVolume(volume);
    if (place < this.nv.volumes.length - 1) this.nv.setVolume(volume, place);
  }

  // Give a layer its colours, filled or outlined.
  paint(layer) {
    const { volume, values } = this.loaded.get(layer.name);
    const { style } = this.settings.get(layer.name);
    volume.setColormapLabel(Rada.layerColours(layer, style));
    if (layer.kind === "label") {
      volume.img.set(style === "outline" ? this.edges(layer, values, volume.hdr.dims.slice(1, 4)) : values);
    }
  }

  edges(layer, values, size) {
    if (layer.name !== "annotation") return Rada.outlined(values, size);
    return Rada.outlinedPlanes(values, size, this.one.slices.map((each) => [2 - each.axis, this.toVoxel(each.axis, each.index)]));
  }

  async set(name, changes) {
    const settings = Object.assign(this.settings.get(name), changes);
    const layer = this.one.layers.find((each) => each.name === name);
    if (!this.loaded.has(name)) {
      if (settings.on) await this.load(layer);
      return;
    }
    if ("style" in changes) {
      this.paint(layer);
      this.nv.updateGLVolume();
    }
    this.apply(name);
  }

  apply(name) {
    const { on, opacity } = this.settings.get(name);
    const place = this.nv.volumes.indexOf(this.loaded.get(name).volume);
    this.nv.setOpacity(place, on ? opacity : 0);
  }

  setView(view) {
    this.view = view;
    const { SLICE_TYPE } = this.niivue;
    const types = { multiplanar: SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL,
      sagittal: SLICE_TYPE.SAGITTAL, render: SLICE_TYPE.RENDER };
    this.nv.setSliceType(types[view]);
  }

  crosshairMm() {
    return CROSSHAIR_SHARE * Math.max(...this.one.axes.map((axis, at) => axis.slices * this.one.spacing_mm[at]));
  }

  setCrosshair(isShown) {
    this.nv.setCrosshairWidth(isShown ? this.crosshairMm() : 0);
    this.nv.opts.show3Dcrosshair = isShown;
    this.nv.drawScene();
  }

  // --- slices: counted as the scan's file counts them, from 0 ---

  // The viewer's axes run to the right, front and head; those of `one.axes` are axial (to the head), coronal (to the
  // back), sagittal (to the left).
  shownSlices(axis) {
    const { slices, factor } = this.one.axes[axis];
    return Math.ceil(slices / factor);
  }

  toFile(axis, voxel) {
    const { slices, factor, flipped } = this.one.axes[axis];
    const shown = axis === 0 ? voxel : this.shownSlices(axis) - 1 - voxel;
    const upright = Math.min(shown * factor + Math.floor(factor / 2), slices - 1);
    return flipped ? slices - 1 - upright : upright;
  }

  toVoxel(axis, index) {
    const { slices, factor, flipped } = this.one.axes[axis];
    const shown = Math.floor((flipped ? slices - 1 - index : index) / factor);
    return axis === 0 ? shown : this.shownSlices(axis) - 1 - shown;
  }

  voxel() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  slice(axis) {
    return this.toFile(axis, this.voxel()[2 - axis]);
  }

  setSlice(axis, index) {
    const voxel = this.voxel();
    voxel[2 - axis] = this.toVoxel(axis, Math.min(Math.max(index, 0), this.one.axes[axis].slices - 1));
    this.goTo(voxel);
  }

  // One step in the direction of the head, the back or the left: the same for every file.
  step(axis, steps) {
    const voxel = this.voxel();
    const moved = voxel[2 - axis] + (axis === 0 ? steps : -steps);
    voxel[2 - axis] = Math.min(Math.max(moved, 0), this.shownSlices(axis) - 1);
    this.goTo(voxel);
  }

  goTo(voxel) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    this.nv.drawScene();
    this.onMove();
  }

  // Where there is something to see: where drawn slices cross, else the middle of a label.
  goToFocus() {
    const voxel = this.voxel();
    const drawn = new Map();
    for (const each of this.one.slices) if (!drawn.has(each.axis)) drawn.set(each.axis, each.index);
    if (drawn.size) {
      for (const [axis, index] of drawn) voxel[2 - axis] = this.toVoxel(axis, index);
    } else {
      const label = [...this.loaded.values()].find(({ layer }) => layer.kind === "label");
      if (label) label.volume && Object.assign(voxel, Rada.centre(label.values, label.volume.hdr.dims.slice(1, 4)) || voxel);
    }
    this.goTo(voxel);
  }

  // What every layer that is on says at the crosshair.
  values() {
    const [x, y, z] = this.voxel();
    const found = [];
    for (const { layer, volume, values } of this.loaded.values()) {
      if (!this.settings.get(layer.name).on) continue;
      const [nx, ny] = volume.hdr.dims.slice(1, 3);
      const value = values[x + nx * (y + ny * z)];
      if (layer.kind === "image") found.push([layer.title, String(Number((value * volume.hdr.scl_slope + volume.hdr.scl_inter).toPrecision(4)))]);
      else if (layer.kind === "doubt") found.push([layer.title, `${Math.round((100 * (layer.name === "confidence" ? 255 - value : value)) / 255)} %`]);
      else if (layer.kind === "errors") found.push([layer.title, value ? ERROR_KINDS[value - 1][1] : "agree"]);
      else found.push([layer.title, (Rada.report.classes.find((one) => one.value === value) || { name: "–" }).name]);
    }
    return found;
  }
};

// The middle of the foreground, as a voxel.
Rada.centre = (values, [nx, ny]) => {
  let [count, sx, sy, sz] = [0, 0, 0, 0];
  for (let at = 0; at < values.length; at++) {
    if (!values[at]) continue;
    count++;
    sx += at % nx;
    sy += Math.floor(at / nx) % ny;
    sz += Math.floor(at / (nx * ny));
  }
  return count ? [sx, sy, sz].map((sum) => Math.round(sum / count)) : null;
};
