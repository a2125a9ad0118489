// Tools that paint on one slice of a drawing: arrays only, nothing of the page.

const VIEWS = { axial: 2, coronal: 1, sagittal: 0 }; // the axis (x, y, z) across each view

/** One slice of a volume whose voxels lie x fastest, with the history of what was painted on it. */
export class SlicePaint {
  /**
   * @param {Uint8Array} bitmap of the whole volume
   * @param {number[]} dims voxels along x, y, z
   * @param {number[]} spacing mm along x, y, z
   * @param {string} view "sagittal", "coronal" or "axial"
   * @param {number} position along the axis across the view
   */
  constructor(bitmap, dims, spacing, view, position) {
    const strides = [1, dims[0], dims[0] * dims[1]];
    this.across = VIEWS[view];
    const [u, v] = [0, 1, 2].filter((axis) => axis !== this.across);
    Object.assign(this, { bitmap, view, position, axes: [u, v], width: dims[u], height: dims[v] });
    this.steps = [strides[u], strides[v]];
    this.base = position * strides[this.across];
    this.spacing = [spacing[u], spacing[v]];
    this.past = [];
    this.future = [];
  }

  at(u, v) {
    return this.base + u * this.steps[0] + v * this.steps[1];
  }

  /** The slice's pixels, rows of constant v. */
  pixels() {
    const pixels = new Uint8Array(this.width * this.height);
    for (let v = 0, n = 0; v < this.height; v++) {
      for (let u = 0; u < this.width; u++) pixels[n++] = this.bitmap[this.at(u, v)];
    }
    return pixels;
  }

  put(pixels) {
    for (let v = 0, n = 0; v < this.height; v++) {
      for (let u = 0; u < this.width; u++) this.bitmap[this.at(u, v)] = pixels[n++];
    }
  }

  /** Remember the slice as it is, before a stroke. */
  begin() {
    this.past.push(this.pixels());
    if (this.past.length > 50) this.past.shift();
    this.future = [];
  }

  undo() {
    return this.#swap(this.past, this.future);
  }

  redo() {
    return this.#swap(this.future, this.past);
  }

  #swap(from, to) {
    if (!from.length) return false;
    to.push(this.pixels());
    this.put(from.pop());
    return true;
  }

  set(u, v, value) {
    if (u >= 0 && v >= 0 && u < this.width && v < this.height) this.bitmap[this.at(u, v)] = value;
  }

  /** A round spot, `size` times the smaller pixel side wide. */
  stamp([u, v], size, value) {
    const [du, dv] = this.spacing;
    const radius = (size * Math.min(du, dv)) / 2;
    for (let j = Math.ceil(-radius / dv); j * dv <= radius; j++) {
      for (let i = Math.ceil(-radius / du); i * du <= radius; i++) {
        if ((i * du) ** 2 + (j * dv) ** 2 <= radius ** 2) this.set(u + i, v + j, value);
      }
    }
  }

  /** Spots along a line, its first point left out. */
  line(from, to, size, value) {
    for (const point of between(from, to)) this.stamp(point, size, value);
  }

  /** Fill the inside of a closed outline, and the outline itself. */
  outline(points, value) {
    for (let v = 0; v < this.height; v++) {
      const cuts = [];
      points.forEach(([u1, v1], k) => {
        const [u2, v2] = points[(k + 1) % points.length];
        if (v1 <= v !== v2 <= v) cuts.push(u1 + ((v - v1) / (v2 - v1)) * (u2 - u1));
      });
      cuts.sort((a, b) => a - b);
      for (let k = 0; k + 1 < cuts.length; k += 2) {
        for (let u = Math.ceil(cuts[k]); u <= cuts[k + 1]; u++) this.set(u, v, value);
      }
    }
    points.forEach((point, k) => this.line(point, points[(k + 1) % points.length], 1, value));
  }

  /** Fill the area of one class around a point; false, and nothing is filled, where background runs to the edge. */
  fill([u0, v0], value) {
    const before = this.bitmap[this.at(u0, v0)];
    if (before === value) return true;
    const pixels = this.pixels();
    const queue = [u0 + v0 * this.width];
    pixels[queue[0]] = value;
    for (let next = 0; next < queue.length; next++) {
      const u = queue[next] % this.width;
      const v = (queue[next] - u) / this.width;
      for (const [i, j] of [[u - 1, v], [u + 1, v], [u, v - 1], [u, v + 1]]) {
        if (i < 0 || j < 0 || i >= this.width || j >= this.height) {
          if (before === 0) return false;
          continue;
        }
        const n = i + j * this.width;
        if (pixels[n] === before) {
          pixels[n] = value;
          queue.push(n);
        }
      }
    }
    this.put(pixels);
    return true;
  }
}

/** The pixels of a straight line, the first left out. */
function between([u1, v1], [u2, v2]) {
  const steps = Math.max(Math.abs(u2 - u1), Math.abs(v2 - v1));
  return Array.from({ length: steps }, (_, k) => [
    Math.round(u1 + ((u2 - u1) * (k + 1)) / steps),
    Math.round(v1 + ((v2 - v1) * (k + 1)) / steps),
  ]);
}
