// Two images in one place: a border to drag, a fade, a blink, or the heat map of the difference.
const stills = matchMedia("(prefers-reduced-motion: reduce)");
const NEAR_PX = 28;
const get = (id) => document.getElementById(id);

export class Overlay {
  constructor(stage, view, heat, zoom) {
    Object.assign(this, { stage, view, heat, zoom, at: 0.5, turned: false, shown: 1, dragging: null });
    this.handle = get("handle");
    this.plays = !stills.matches;
    zoom.border = this;
    this.handle.addEventListener("keydown", (event) => this.#handleKey(event));
    get("turn").addEventListener("click", () => this.#turn());
    get("fade").addEventListener("input", () => this.#draw());
    get("blink").addEventListener("click", () => this.#playOrFlip());
    get("speed").addEventListener("input", () => this.#blink());
    stills.addEventListener("change", () => { this.plays = !stills.matches; this.#blink(); });
  }

  show(mode) {
    const turnedToBlink = mode === "blink" && this.stage.dataset.mode !== "blink";
    this.stage.dataset.mode = mode;
    this.handle.hidden = mode !== "slider";
    this.heat.frame.hidden = mode !== "difference";
    const pair = this.view.pair(), all = mode === "side" || mode === "blink";
    this.view.panes.forEach((pane) => {
      pane.frame.classList.toggle("away", !all && !pair.includes(pane));
      pane.frame.classList.toggle("over", !all && pane === pair[1]);
    });
    for (const [name, pane] of [["first", pair[0]], ["second", pair[1]]]) {
      for (const place of document.querySelectorAll(`.pair-${name}`)) place.textContent = pane.letter;
    }
    this.handle.setAttribute("aria-label", `Border between ${pair[0].letter} and ${pair[1].letter}`);
    if (turnedToBlink) this.shown = 1;
    this.#draw();
    this.#blink();
    this.changed();
  }

  /** An image was replaced or has loaded. */
  changed() {
    if (this.view.mode === "difference") this.heat.work();
  }

  /** Blinking: stop or go on; where motion is reduced, the next image. */
  flip() { this.#playOrFlip(); }

  key(name) {
    if (name === "v" && this.view.mode === "slider") this.#turn();
    else if (name === "[" || name === "]") return this.#nudge(name === "]" ? 0.05 : -0.05);
    else return false;
    return true;
  }

  // The border: it takes a drag that begins near it, or anywhere while nothing is zoomed.
  takes(event) {
    if (this.view.mode !== "slider") return false;
    const box = this.stage.getBoundingClientRect();
    const away = Math.abs(this.#share(event) - this.at) * (this.turned ? box.height : box.width);
    if (this.zoom.scale > 1 && away > NEAR_PX) return false;
    this.dragging = event.pointerId;
    this.stage.setPointerCapture(event.pointerId);
    event.preventDefault(); // the arrow keys stay with the images
    this.#move(this.#share(event));
    return true;
  }

  drag(event) {
    if (this.dragging !== event.pointerId) return false;
    this.#move(this.#share(event));
    return true;
  }

  drop(event) {
    if (!event || event.pointerId === this.dragging) this.dragging = null;
  }

  #share(event) {
    const box = this.stage.getBoundingClientRect();
    return this.turned ? (event.clientY - box.top) / box.height : (event.clientX - box.left) / box.width;
  }

  #handleKey(event) {
    const big = event.shiftKey ? 0.1 : 0.02;
    const step = { ArrowLeft: -big, ArrowUp: -big, ArrowRight: big, ArrowDown: big, PageUp: -0.1, PageDown: 0.1 }[event.key];
    if (step) this.#move(this.at + step);
    else if (event.key === "Home" || event.key === "End") this.#move(event.key === "End" ? 1 : 0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #nudge(step) {
    if (this.view.mode === "slider") this.#move(this.at + step);
    else if (this.view.mode === "fade") { get("fade").value = Number(get("fade").value) + step * 100; this.#draw(); }
    else return false;
    return true;
  }

  #turn() {
    this.turned = !this.turned;
    this.stage.dataset.turn = this.turned ? "h" : "v";
    get("turn").setAttribute("aria-pressed", String(this.turned));
    this.handle.setAttribute("aria-orientation", this.turned ? "vertical" : "horizontal");
    this.#draw();
  }

  #move(share) {
    this.at = Math.min(Math.max(share, 0), 1);
    this.#draw();
  }

  #draw() {
    const { mode } = this.view, percent = `${(this.at * 100).toFixed(2)}%`;
    this.stage.style.setProperty("--at", percent);
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.at * 100)));
    const second = this.view.pair()[1];
    for (const pane of this.view.panes) {
      const over = pane === second && this.view.panes.length > 1;
      const cut = this.turned ? `inset(${percent} 0 0 0)` : `inset(0 0 0 ${percent})`;
      pane.frame.style.clipPath = over && mode === "slider" ? cut : "";
      pane.frame.style.opacity = over && mode === "fade" ? String(get("fade").value / 100) : "";
      if (mode !== "blink") pane.frame.classList.remove("off");
    }
  }

  #playOrFlip() {
    if (stills.matches) this.#next();
    else { this.plays = !this.plays; this.#blink(); }
  }

  #next() {
    this.shown = (this.shown + 1) % this.view.panes.length;
    this.#showOne();
  }

  #showOne() {
    this.view.panes.forEach((pane, k) => pane.frame.classList.toggle("off", k !== this.shown));
  }

  #blink() {
    clearInterval(this.timer);
    const speed = Number(get("speed").value);
    get("speed-told").textContent = `${speed} a second`;
    get("still").hidden = !stills.matches;
    get("blink").textContent = stills.matches ? "Next" : this.plays ? "Pause" : "Play";
    if (this.view.mode !== "blink") return;
    this.#showOne();
    if (this.plays) this.timer = setInterval(() => this.#next(), 1000 / speed);
  }
}
