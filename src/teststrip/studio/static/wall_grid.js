// A wall with axes, windowed: only cells in sight (and one more each way) are in the document.
import { el, formatter, many, picture } from "./wall_dom.js";

const HEAD = 50;

export class Grid {
  constructor(stage, data, options) {
    Object.assign(this, { stage, data, ...options });
    this.study = data.study;
    this.cells = new Map(data.cells.map((c) => [`${c[0]},${c[1]}`, c]));
    const means = data.cells.map((c) => c[6]).filter((m) => m !== null);
    this.low = Math.min(...means);
    this.high = Math.max(...means);
    const room = 0.2 * (this.high - this.low); // an interval of two prompts would squash all others
    this.from = this.low - room;
    this.to = this.high + room;
    this.format = formatter(this.low, this.high);
    this.lines = new Map();
    this.slot = 0;
    this.wanted = this.size;
    this.measure();
    this.at = { row: 0, column: 0 };
    const first = data.cells[0];
    if (first) this.at = { row: first[0], column: first[1] };
    this.hang();
  }

  measure() {
    const narrow = this.stage.clientWidth < 620;
    this.side = narrow ? 92 : 150;
    const images = this.show === "images";
    this.size = narrow ? Math.min(this.wanted, Math.max(72, this.wanted / 2)) : this.wanted;
    this.across = images ? (this.per === 1 ? 1 : this.per === 2 || this.per === 4 ? 2 : 3) : 0;
    this.down = images ? Math.ceil(this.per / this.across) : 0;
    this.width = Math.max(this.across * (this.size + 3) + 13, narrow ? 132 : 158);
    this.height = this.down * (this.size + 3) + (images ? 66 : 66);
  }

  hang() {
    const { rows, columns } = this.data;
    this.stage.replaceChildren();
    this.stage.setAttribute("role", "grid");
    this.stage.setAttribute("aria-rowcount", rows.length + 1);
    this.stage.setAttribute("aria-colcount", columns.length + 1);
    this.heads = el("div", { className: "heads", role: "row", "aria-rowindex": 1 });
    const names = this.data.axes;
    const corner = [names.y2, names.y].filter(Boolean).join(", ");
    const over = [names.x2, names.x].filter(Boolean).join(", ");
    this.corner = el("div", { className: "corner", role: "columnheader", "aria-colindex": 1 },
      el("span", {}, over ? `${over} →` : ""), el("span", {}, corner ? `${corner} ↓` : ""));
    this.corner.style.width = `${this.side}px`;
    this.heads.append(this.corner);
    this.canvas = el("div", { className: "canvas", role: "presentation" }, this.heads);
    this.canvas.style.width = `${this.side + columns.length * this.width}px`;
    this.canvas.style.height = `${HEAD + rows.length * this.height}px`;
    this.stage.append(this.canvas);
    this.shownHeads = new Map();
    this.lines.clear();
    this.render();
  }

  render() {
    const { scrollTop, scrollLeft, clientHeight, clientWidth } = this.stage;
    const { rows, columns } = this.data;
    const top = Math.max(0, Math.floor((scrollTop - HEAD) / this.height) - 1);
    const bottom = Math.min(rows.length, Math.ceil((scrollTop + clientHeight) / this.height) + 1);
    const left = Math.max(0, Math.floor((scrollLeft - this.side) / this.width));
    const right = Math.min(columns.length, Math.ceil((scrollLeft + clientWidth) / this.width) + 1);
    for (const [c, head] of this.shownHeads) if (c < left || c >= right) { head.remove(); this.shownHeads.delete(c); }
    for (let c = left; c < right; c++) if (!this.shownHeads.has(c)) this.heads.append(this.head(c));
    for (const [r, line] of this.lines) if (r < top || r >= bottom) { line.node.remove(); this.lines.delete(r); }
    for (let r = top; r < bottom; r++) {
      const line = this.lines.get(r) ?? this.line(r);
      for (const [c, cell] of line.cells) if (c < left || c >= right) { cell.remove(); line.cells.delete(c); }
      for (let c = left; c < right; c++) if (!line.cells.has(c)) {
        const cell = this.cell(r, c);
        line.cells.set(c, cell);
        line.node.append(cell);
      }
    }
    this.mark();
  }

  head(c) {
    const column = this.data.columns[c];
    const node = el("div", { className: "head", role: "columnheader", "aria-colindex": c + 2 }, this.name(column, "c", c));
    if (c > 0 && column.outer !== null && column.outer !== this.data.columns[c - 1].outer) node.classList.add("group");
    node.style.left = `${this.side + c * this.width}px`;
    node.style.width = `${this.width}px`;
    this.shownHeads.set(c, node);
    return node;
  }

  name(line, kind, number) {
    const title = this.title(kind, number);
    if (!title) return el("span", { className: "name" }, "all");
    const button = el("button", { type: "button", className: "name", title, tabIndex: -1 },
      line.outer === null ? null : el("small", {}, this.title(kind, number, ["outer"])), line.inner === null ? null : el("span", {}, line.inner));
    button.dataset[kind] = number;
    return button;
  }

  /** "seed 0, steps 4": a line's values with their names. */
  title(kind, number, which = ["outer", "inner"]) {
    const line = (kind === "c" ? this.data.columns : this.data.rows)[number];
    const axes = this.data.axes;
    const names = kind === "c" ? { outer: axes.x2, inner: axes.x } : { outer: axes.y2, inner: axes.y };
    return which.filter((w) => line[w] !== null).map((w) => `${names[w]} ${line[w]}`).join(", ");
  }

  line(r) {
    const row = this.data.rows[r];
    const node = el("div", { className: "line", role: "row", "aria-rowindex": r + 2 });
    node.style.top = `${HEAD + r * this.height}px`;
    node.style.height = `${this.height}px`;
    if (r > 0 && row.outer !== null && row.outer !== this.data.rows[r - 1].outer) node.classList.add("group");
    const side = el("div", { className: "side", role: "rowheader", "aria-colindex": 1 }, this.name(row, "r", r));
    side.style.width = `${this.side}px`;
    node.append(side);
    this.canvas.append(node);
    const line = { node, cells: new Map() };
    this.lines.set(r, line);
    return line;
  }

  /** 0 for the worst cells, 1 for the best; beyond the range of the tint its end. */
  share(mean) {
    const { heat, higher_is_better: up } = this.data;
    if (mean === null || !heat || heat.high === heat.low) return 0;
    const share = Math.min(1, Math.max(0, (mean - heat.low) / (heat.high - heat.low)));
    return up ? share : 1 - share;
  }

  cell(r, c) {
    const node = el("div", { className: "cell", role: "gridcell", id: `cell-${r}-${c}`, "aria-colindex": c + 2 });
    node.dataset.at = `${r},${c}`;
    node.style.left = `${this.side + c * this.width}px`;
    node.style.width = `${this.width}px`;
    const cell = this.cells.get(`${r},${c}`);
    if (!cell) {
      node.classList.add("none");
      node.append(el("span", {}, "no image"));
      return node;
    }
    const [, , total, failed, images, prompts, mean, low, high, , shown] = cell;
    node.style.setProperty("--share", `${(38 * this.share(mean)).toFixed(1)}%`);
    const bounds = low === null ? (mean === null ? "" : "no interval") : `${this.format(low)} to ${this.format(high)}`;
    const counts = `${many(prompts, "prompt")}, ${many(images, "image")}`;
    node.append(
      el("div", { className: "top-line" },
        el("b", {}, mean === null ? (total === failed ? "failed" : "no score") : this.format(mean)), el("span", {}, bounds)),
      this.strip(mean, low, high),
      el("div", { className: "n" }, mean === null ? many(total, "image") : counts, failed ? el("em", {}, `, ${failed} failed`) : null),
    );
    if (this.across) node.append(this.pictures(shown));
    return node;
  }

  /** Mean and interval on the wall's own scale. */
  strip(mean, low, high) {
    const node = el("div", { className: "strip", "aria-hidden": "true" });
    if (mean === null) return node;
    const place = (v) => (this.to === this.from ? 50 : Math.min(100, Math.max(0, (100 * (v - this.from)) / (this.to - this.from))));
    node.style.setProperty("--at", `${place(mean).toFixed(2)}%`);
    node.style.setProperty("--low", `${place(low ?? mean).toFixed(2)}%`);
    node.style.setProperty("--high", `${place(high ?? mean).toFixed(2)}%`);
    return node;
  }

  pictures(shown) {
    const box = el("div", { className: "pics" });
    box.style.gridTemplateColumns = `repeat(${this.across}, ${this.size}px)`;
    box.style.gridAutoRows = `${this.size}px`;
    for (const [slot, key, score, among, prompt, seed] of shown) {
      const text = this.data.prompts[prompt] ?? "";
      const image = picture(this.study, key, this.size, `${text}, seed ${seed}`);
      image.title = `${text}\nseed ${seed}, ${this.data.score} ${this.format(score)}${among > 1 ? `\nthe middle one of ${among}` : ""}`;
      image.style.gridArea = `${Math.floor((slot - 1) / this.across) + 1} / ${((slot - 1) % this.across) + 1}`;
      image.dataset.slot = slot;
      image.classList.toggle("picked", this.isPicked(key));
      box.append(image);
    }
    return box;
  }

  /** The images of a cell in its slots. */
  shown(at = this.at) {
    const cell = this.cells.get(`${at.row},${at.column}`);
    return cell ? cell[10].map(([slot, key]) => ({ slot, key })) : [];
  }

  current() {
    const shown = this.shown();
    return shown.find((s) => s.slot === this.slot + 1) ?? shown[0] ?? null;
  }

  move(down, right) {
    const rows = this.data.rows.length, columns = this.data.columns.length;
    this.at.row = Math.min(rows - 1, Math.max(0, this.at.row + down));
    this.at.column = Math.min(columns - 1, Math.max(0, this.at.column + right));
    this.reveal();
  }

  reveal() {
    const { stage, at } = this;
    const x = at.column * this.width, y = at.row * this.height;
    const high = stage.clientHeight - HEAD, wide = stage.clientWidth - this.side;
    if (y < stage.scrollTop || this.height > high) stage.scrollTop = y;
    else if (y + this.height > stage.scrollTop + high) stage.scrollTop = y + this.height - high;
    if (x < stage.scrollLeft || this.width > wide) stage.scrollLeft = x;
    else if (x + this.width > stage.scrollLeft + wide) stage.scrollLeft = x + this.width - wide;
    this.render();
  }

  page() { return Math.max(1, Math.floor((this.stage.clientHeight - HEAD) / this.height)); }

  mark() {
    this.stage.querySelector(".cell.here")?.classList.remove("here");
    this.stage.querySelector(".pic.slot")?.classList.remove("slot");
    const cell = document.getElementById(`cell-${this.at.row}-${this.at.column}`);
    cell?.classList.add("here");
    const now = this.current();
    if (now) cell?.querySelector(`[data-slot="${now.slot}"]`)?.classList.add("slot");
    if (cell) this.stage.setAttribute("aria-activedescendant", cell.id);
    else this.stage.removeAttribute("aria-activedescendant");
  }

  /** The part of the address that gives the images of a cell. */
  filter({ row, column } = this.at) {
    return [...this.data.columns[column].filter, ...this.data.rows[row].filter];
  }

  repaint() {
    for (const image of this.stage.querySelectorAll(".pic")) image.classList.toggle("picked", this.isPicked(image.dataset.key));
  }
}
