// Linked zoom and pan: one scale and one place for all images, in shares of a frame.
const MOST = 64, STEP = 1.5;
const PAN = { h: [0.15, 0], l: [-0.15, 0], k: [0, 0.15], j: [0, -0.15] };

export class Zoom {
  constructor(stage, view, onChange) {
    Object.assign(this, { stage, view, onChange, scale: 1, tx: 0, ty: 0, wantsSharp: true });
    this.pointers = new Map();
    this.border = null; // set by the slider: takes a drag that is its own
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      stage.addEventListener(name, (event) => this.#up(event));
    }
    stage.addEventListener("dblclick", (event) => {
      if (event.target.closest(".handle")) return;
      if (this.scale > 1) this.reset();
      else this.at(...this.#share(event), 4);
    });
    document.querySelector(".zoomer").addEventListener("click", (event) => {
      const way = event.target.closest("[data-zoom]")?.dataset.zoom;
      if (way === "0") this.reset();
      else if (way) this.at(0.5, 0.5, way === "1" ? STEP : 1 / STEP);
    });
    this.sharp = document.getElementById("sharp");
    this.sharp.addEventListener("click", () => this.#toggleSharp());
    new ResizeObserver(() => this.fit()).observe(stage);
    this.fit();
  }

  /** The frames' shape is that of the first image; set when one has loaded. */
  fit() {
    const img = this.view.panes.map((pane) => pane.img).find((one) => one?.naturalWidth);
    if (img) this.stage.style.setProperty("--ratio", String(img.naturalWidth / img.naturalHeight));
    this.#draw();
  }

  text() { return [this.scale, this.tx, this.ty].map((n) => n.toFixed(3)).join(","); }

  read(text) {
    const [scale, tx, ty] = (text ?? "").split(",").map(Number);
    if (![scale, tx, ty].every(Number.isFinite) || scale <= 1) return;
    Object.assign(this, { scale: Math.min(scale, MOST), tx, ty });
    this.#settle();
  }

  reset() {
    Object.assign(this, { scale: 1, tx: 0, ty: 0 });
    this.#settle();
  }

  /** Zoom by a factor; the point at (x, y), shares of a frame, stays where it is. */
  at(x, y, factor) {
    const scale = Math.min(Math.max(this.scale * factor, 1), MOST), by = scale / this.scale;
    this.tx = x - (x - this.tx) * by;
    this.ty = y - (y - this.ty) * by;
    this.scale = scale;
    this.#settle();
  }

  pan(dx, dy) {
    this.tx += dx;
    this.ty += dy;
    this.#settle();
  }

  key(name) {
    if (name === "+" || name === "=") this.at(0.5, 0.5, STEP);
    else if (name === "-") this.at(0.5, 0.5, 1 / STEP);
    else if (name === "0") this.reset();
    else if (name === "p") this.#toggleSharp();
    else if (PAN[name] && this.scale > 1) this.pan(...PAN[name]);
    else return false;
    return true;
  }

  #settle() {
    const least = 1 - this.scale; // no edge of an image comes into its frame
    this.tx = Math.min(Math.max(this.tx, least), 0);
    this.ty = Math.min(Math.max(this.ty, least), 0);
    this.#draw();
    this.onChange();
  }

  #draw() {
    const { style, dataset } = this.stage;
    style.setProperty("--scale", String(this.scale));
    style.setProperty("--tx", `${this.tx * 100}%`);
    style.setProperty("--ty", `${this.ty * 100}%`);
    dataset.zoomed = String(this.scale > 1);
    document.getElementById("zoom-told").textContent = `${Math.round(this.scale * 100)} %`;
    const img = this.view.panes.find((pane) => pane.img?.naturalWidth)?.img;
    const enlarged = img ? (img.offsetWidth * this.scale) / img.naturalWidth : 1;
    this.stage.classList.toggle("sharp", this.wantsSharp && enlarged >= 1.5);
  }

  #toggleSharp() {
    this.wantsSharp = !this.wantsSharp;
    this.sharp.setAttribute("aria-pressed", String(this.wantsSharp));
    this.#draw();
  }

  /** The frame under the pointer, or the first one that shows. */
  #box(event) {
    const own = event.target.closest?.(".frame");
    const frame = own ?? [...this.stage.querySelectorAll(".frame")].find((f) => f.offsetWidth);
    return frame.getBoundingClientRect();
  }

  #share(event) {
    const box = this.#box(event);
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #wheel(event) {
    const closer = event.deltaY < 0;
    if (!closer && this.scale === 1) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : 1;
    this.at(...this.#share(event), Math.exp((-event.deltaY * lines) / 400));
  }

  #down(event) {
    if (event.button !== 0) return;
    if (this.pointers.size === 0 && this.border?.takes(event)) return;
    this.border?.drop();
    this.pointers.set(event.pointerId, event);
    this.box = this.#box(event);
    this.stage.setPointerCapture(event.pointerId);
  }

  #move(event) {
    if (this.border?.drag(event)) return;
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const { width, height, left, top } = this.box;
    if (this.pointers.size === 1) {
      this.pan((event.clientX - before.clientX) / width, (event.clientY - before.clientY) / height);
    } else if (this.pointers.size === 2) {
      const still = [...this.pointers.values()].find((p) => p.pointerId !== event.pointerId);
      const apart = (p) => Math.hypot(p.clientX - still.clientX, p.clientY - still.clientY) || 1;
      this.pan((event.clientX - before.clientX) / width / 2, (event.clientY - before.clientY) / height / 2);
      const x = ((event.clientX + still.clientX) / 2 - left) / width;
      const y = ((event.clientY + still.clientY) / 2 - top) / height;
      this.at(x, y, apart(event) / apart(before));
    }
    this.pointers.set(event.pointerId, event);
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    this.border?.drop(event);
  }
}
