// The picture: NiiVue shows the scan, the paint as its drawing, and a carried label as an overlay.
// Its own mouse tools stay off: they paint on any slice. Points are found through it, so zoom and mirroring are its own.

const { Niivue, NVImage, SLICE_TYPE, SHOW_RENDER } = globalThis.niivue;
const VIEWS = ["axial", "coronal", "sagittal"]; // by NiiVue's number; the axis across each is 2 - number
const DRAW_TEXTURE = 7; // NiiVue's texture unit of the drawing

export class Viewer {
  async attach(canvas, colours) {
    this.nv = new Niivue({
      isRadiologicalConvention: true, // the patient's right on the left, the nose on the left, as on a workstation
      sagittalNoseLeft: true,
      isResizeCanvas: true,
      dragAndDropEnabled: false,
      crosshairWidth: 0,
      crosshairWidthUnit: "voxels",
      crosshairColor: [0.94, 0.89, 0.26, 0.8],
      multiplanarShowRender: SHOW_RENDER.NEVER,
      backColor: [0, 0, 0, 1],
      fontColor: [0.75, 0.75, 0.75, 1],
      logLevel: "error",
      loadingText: "",
      interactive: false,
    });
    await this.nv.attachToCanvas(canvas);
    this.colours = colours;
    const rgb = [[0, 0, 0], ...colours.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)))];
    this.table = {
      R: rgb.map((c) => c[0]), G: rgb.map((c) => c[1]), B: rgb.map((c) => c[2]), A: rgb.map((_, k) => (k ? 255 : 0)),
      I: rgb.map((_, k) => k), labels: rgb.map((_, k) => String(k)),
    };
  }

  /** Show a scan (a NIfTI file) and its paint (one byte a voxel). */
  async load(image, paint) {
    const { nv } = this;
    nv.closeDrawing();
    nv.volumes = [];
    const volume = await NVImage.loadFromUrl({ url: image, name: "image.nii" });
    nv.addVolume(volume);
    this.dims = volume.dimsRAS.slice(1, 4);
    this.spacing = volume.pixDimsRAS.slice(1, 4);
    this.first = { min: volume.cal_min, max: volume.cal_max };
    nv.createEmptyDrawing();
    this.bitmap = nv.drawBitmap;
    this.bitmap.set(paint);
    nv.setDrawColormap(this.table);
    nv.refreshDrawing(false);
    this.resetView();
  }

  /** Show one view at a position, or all three views ("all"). */
  show(view, at) {
    const number = VIEWS.indexOf(view);
    if (at) this.lookAt(at);
    this.nv.setSliceType(number < 0 ? SLICE_TYPE.MULTIPLANAR : number);
    this.nv.opts.crosshairWidth = number < 0 ? 0.2 : 0;
    this.nv.drawScene();
  }

  /** The voxel [x, y, z] that is looked at. */
  get voxel() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  lookAt(voxel) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    this.nv.drawScene();
  }

  /** The voxel and view under a point of the canvas (CSS pixels), or null beside the picture. */
  pick(x, y) {
    const ratio = this.nv.uiData.dpr ?? 1;
    for (let tile = 0; tile < this.nv.screenSlices.length; tile++) {
      const frac = this.nv.screenXY2TextureFrac(x * ratio, y * ratio, tile, true);
      if (frac[0] >= 0) {
        return { voxel: Array.from(this.nv.frac2vox(frac)), view: VIEWS[this.nv.screenSlices[tile].axCorSag] };
      }
    }
    return null;
  }

  /** The width and height of a pixel of the slice on the canvas (CSS pixels), where a single view is shown. */
  pixel() {
    const tile = this.nv.screenSlices[0];
    if (!tile) return null;
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const ratio = this.nv.uiData.dpr ?? 1;
    const [u, v] = [0, 1, 2].filter((axis) => axis !== 2 - tile.axCorSag);
    const at = (share) => this.nv.screenXY2TextureFrac(left + share * width, top + share * height, 0, false);
    const [a, b] = [at(0.25), at(0.75)];
    const side = (axis, length) => Math.abs((0.5 * length) / ((b[axis] - a[axis]) * this.dims[axis])) / ratio;
    return { width: side(u, width), height: side(v, height) };
  }

  /** Bring one slice of the paint to the screen; NiiVue's own way sends the whole volume, at every move of the mouse. */
  refreshSlice(across, position) {
    const { gl, drawTexture } = this.nv;
    const [nx, ny, nz] = this.dims;
    const offset = [0, 0, 0];
    const size = [nx, ny, nz];
    offset[across] = position;
    size[across] = 1;
    gl.activeTexture(gl.TEXTURE0 + DRAW_TEXTURE);
    gl.bindTexture(gl.TEXTURE_3D, drawTexture);
    const parameters = {
      UNPACK_ALIGNMENT: 1, UNPACK_ROW_LENGTH: nx, UNPACK_IMAGE_HEIGHT: ny,
      UNPACK_SKIP_PIXELS: offset[0], UNPACK_SKIP_ROWS: offset[1], UNPACK_SKIP_IMAGES: offset[2],
    };
    const before = {};
    for (const [name, value] of Object.entries(parameters)) {
      before[name] = gl.getParameter(gl[name]);
      gl.pixelStorei(gl[name], value);
    }
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...offset, ...size, gl.RED, gl.UNSIGNED_BYTE, this.bitmap);
    for (const [name, value] of Object.entries(before)) gl.pixelStorei(gl[name], value);
    this.nv.drawScene();
  }

  refreshAll() {
    this.nv.refreshDrawing(true);
  }

  setPaintOpacity(share) {
    this.nv.setDrawOpacity(share);
  }

  /** Show a carried label (a NIfTI file), or none. */
  async setLayer(file) {
    const { nv } = this;
    const layer = file && (await NVImage.loadFromUrl({ url: file, name: "label.nii", opacity: 0.3 }));
    for (const volume of nv.volumes.slice(1)) nv.removeVolume(volume);
    if (!layer) return;
    layer.setColormapLabel(this.table);
    nv.addVolume(layer);
  }

  /** Brightness and contrast, 0 to 1; 0.5 is as the scan was loaded. */
  setWindow(level, width) {
    const { min, max } = this.first;
    const half = ((max - min) / 2) * 8 ** (1 - 2 * width);
    const middle = (min + max) / 2 + (max - min) * (1 - 2 * level);
    Object.assign(this.nv.volumes[0], { cal_min: middle - half, cal_max: middle + half });
    this.nv.updateGLVolume();
  }

  resetView() {
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  /** Move the picture, so that what was under a point of the canvas is under another. */
  move(from, to) {
    const [a, b] = [this.#mm(...from), this.#mm(...to)];
    const pan = Array.from(this.nv.scene.pan2Dxyzmm);
    for (const axis of [0, 1, 2]) pan[axis] += pan[3] * (b[axis] - a[axis]);
    this.nv.setPan2Dxyzmm(pan);
  }

  /** Zoom, so that what is under a point of the canvas stays there. */
  zoom(factor, x, y) {
    const pan = Array.from(this.nv.scene.pan2Dxyzmm);
    const zoom = Math.min(12, Math.max(1, pan[3] * factor));
    if (zoom === 1) return this.resetView();
    // NiiVue shows, at a fixed point of the canvas, the position (point - pan) / zoom.
    const mm = this.#mm(x, y);
    for (const axis of [0, 1, 2]) pan[axis] += (pan[3] - zoom) * mm[axis];
    pan[3] = zoom;
    this.nv.setPan2Dxyzmm(pan);
  }

  #mm(x, y) {
    const ratio = this.nv.uiData.dpr ?? 1;
    const frac = this.nv.screenXY2TextureFrac(x * ratio, y * ratio, 0, false);
    return this.nv.frac2mm(frac);
  }
}
