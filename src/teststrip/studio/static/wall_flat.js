// All images of a view, windowed over pages of JSON: memory and document stay small at any size.
import { ask } from "./studio.js";
import { el, formatter, picture, short } from "./wall_dom.js";

const PAGE = 200, MOST_PAGES = 12, CAPTION = 24, GAP = 10, AHEAD = 1;

export class Flat {
  constructor(stage, data, options) {
    Object.assign(this, { stage, data, ...options });
    this.study = data.study;
    this.total = data.counts.total;
    this.pages = new Map([[0, data.images]]);
    this.asked = new Set();
    const scores = data.images.map((i) => i.s).filter((s) => s !== null);
    this.format = formatter(Math.min(...scores), Math.max(...scores));
    this.number = 0;
    this.rows = new Map();
    this.hang();
  }

  measure() {
    const wide = this.stage.clientWidth - 2;
    this.columns = Math.max(1, Math.floor((wide + GAP) / (this.size + GAP)));
    this.tile = Math.floor((wide + GAP) / this.columns) - GAP;
    this.step = this.tile + CAPTION + GAP;
    this.lines = Math.ceil(this.total / this.columns);
  }

  hang() {
    this.measure();
    this.stage.replaceChildren();
    this.stage.setAttribute("role", "grid");
    this.stage.setAttribute("aria-rowcount", this.lines);
    this.stage.setAttribute("aria-colcount", this.columns);
    this.canvas = el("div", { className: "canvas flat", role: "presentation" });
    this.canvas.style.height = `${this.lines * this.step}px`;
    this.stage.append(this.canvas);
    this.rows.clear();
    this.render();
  }

  /** An image by its number; undefined until its page is here. */
  image(number) {
    const page = Math.floor(number / PAGE);
    const found = this.pages.get(page);
    if (!found) { this.fetch(page); return undefined; }
    return found[number % PAGE];
  }

  async fetch(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    try {
      const body = await ask(`/wall/images.json?${this.data.address}&first=${page * PAGE}&count=${PAGE}`);
      this.pages.set(page, body.images);
      this.forget(page);
      this.refill(page);
    } catch (fault) {
      this.onFault(fault);
    } finally {
      this.asked.delete(page);
    }
  }

  /** Pages farthest from the one just read go first. */
  forget(near) {
    const far = [...this.pages.keys()].sort((a, b) => Math.abs(b - near) - Math.abs(a - near));
    for (const page of far.slice(0, Math.max(0, this.pages.size - MOST_PAGES))) this.pages.delete(page);
  }

  refill(page) {
    for (const [r, row] of this.rows) {
      const first = r * this.columns;
      if (first < (page + 1) * PAGE && first + this.columns > page * PAGE) this.fill(r, row);
    }
    this.mark();
  }

  render() {
    const { scrollTop, clientHeight } = this.stage;
    const top = Math.max(0, Math.floor(scrollTop / this.step) - AHEAD);
    const bottom = Math.min(this.lines, Math.ceil((scrollTop + clientHeight) / this.step) + AHEAD);
    for (const [r, row] of this.rows) if (r < top || r >= bottom) { row.remove(); this.rows.delete(r); }
    for (let r = top; r < bottom; r++) {
      if (this.rows.has(r)) continue;
      const row = el("div", { className: "line", role: "row", "aria-rowindex": r + 1 });
      row.style.top = `${r * this.step}px`;
      this.rows.set(r, row);
      this.fill(r, row);
      this.canvas.append(row);
    }
    this.mark();
  }

  fill(r, row) {
    const tiles = [];
    for (let c = 0; c < this.columns && r * this.columns + c < this.total; c++) tiles.push(this.make(r * this.columns + c, c));
    row.replaceChildren(...tiles);
  }

  make(number, c) {
    const image = this.image(number);
    const node = el("div", { className: "tile", role: "gridcell", id: `tile-${number}`, "aria-colindex": c + 1 });
    node.dataset.number = number;
    node.style.left = `${c * (this.tile + GAP)}px`;
    node.style.width = `${this.tile}px`;
    if (!image) { node.classList.add("waits"); return node; }
    const side = this.tile;
    if (image.failed) {
      const failed = el("div", { className: "failed", title: image.failed }, `failed: ${image.failed}`);
      failed.style.height = `${side}px`;
      node.append(failed);
    } else {
      const shown = picture(this.study, image.key, side, `${image.prompt}, seed ${image.seed}`);
      shown.title = `${image.prompt}\nseed ${image.seed}, recipe ${image.recipe}`;
      shown.classList.toggle("picked", this.isPicked(image.key));
      node.append(shown);
    }
    node.append(el("div", { className: "caption" }, el("b", {}, image.s === null ? "no score" : this.format(image.s)), this.why(image)));
    return node;
  }

  /** What an image is sorted by, where that is not the score; else its seed. */
  why(image) {
    const { sort, score } = this.data;
    return sort === "order" || sort === score ? ` seed ${image.seed ?? "none"}` : ` ${sort} ${short(image.o)}`;
  }

  current() {
    const image = this.image(this.number);
    return image && !image.failed ? { key: image.key } : null;
  }

  move(down, right) {
    this.number = Math.min(this.total - 1, Math.max(0, this.number + down * this.columns + right));
    this.reveal();
  }

  reveal() {
    const y = Math.floor(this.number / this.columns) * this.step, high = this.stage.clientHeight;
    if (y < this.stage.scrollTop) this.stage.scrollTop = y;
    else if (y + this.step > this.stage.scrollTop + high) this.stage.scrollTop = y + this.step - high;
    this.render();
  }

  page() { return Math.max(1, Math.floor(this.stage.clientHeight / this.step)); }

  mark() {
    this.stage.querySelector(".tile.here")?.classList.remove("here");
    const tile = document.getElementById(`tile-${this.number}`);
    tile?.classList.add("here");
    if (tile) this.stage.setAttribute("aria-activedescendant", tile.id);
    else this.stage.removeAttribute("aria-activedescendant");
  }

  repaint() {
    for (const image of this.stage.querySelectorAll(".pic")) image.classList.toggle("picked", this.isPicked(image.dataset.key));
  }
}
