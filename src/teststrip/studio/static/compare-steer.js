// Moving images along settings, seeds and prompts. Lines of neighbours come from the server and
// the pictures on them are fetched ahead, so that a step shows in the same frame.
import { ask, notice, root } from "./studio.js";

const KEPT = 96, AHEAD = 3, MOST_WAITING = 8;
const AXES = ["x", "y", "seed", "prompt"];

export class Steering {
  constructor(view, onMove) {
    Object.assign(this, { view, onMove, queue: [], loading: null, pictures: new Map() });
    this.together = document.getElementById("together");
    const blocks = new Set(view.panes.map((pane) => `${pane.promptId} ${pane.seed}`));
    if (this.together) this.together.checked = view.paired && blocks.size === 1;
    this.told = document.getElementById("moved");
  }

  /** Ask for the lines of images that have none yet. */
  load() {
    const missing = this.view.panes.filter((pane) => !pane.lines || AXES.some((axis) => pane.lines[axis] === null));
    if (!missing.length) return;
    const { study, x, y } = this.view, asked = missing.map((pane) => pane.key);
    const query = new URLSearchParams({ study, x: x ?? "", y: y ?? "" });
    for (const key of asked) query.append("i", key);
    this.loading = ask(`/compare/neighbours?${query}`).then((answer) => {
      if (x !== this.view.x || y !== this.view.y) return;
      missing.forEach((pane, k) => {
        if (pane.key !== asked[k]) return; // it has moved on since
        const fresh = answer.images[pane.key] ?? {};
        const own = Object.entries(pane.lines ?? {}).filter(([, line]) => line);
        pane.lines = { ...fresh, ...Object.fromEntries(own) };
      });
      this.tellPlaces();
      this.preload();
    }).catch((fault) => notice(fault.message, true));
  }

  /** Other axes were chosen. */
  forget() {
    for (const pane of this.view.panes) pane.lines = null;
    this.tellPlaces();
    this.load();
  }

  /** One step; keys that are faster than the server wait their turn, a few at most. */
  async step(axis, way) {
    const first = this.view.panes[this.view.focus];
    if (!this.queue.length && this.#isReady(first, axis)) { this.#go(first, axis, way); return; }
    if (this.queue.length >= MOST_WAITING) return;
    this.queue.push([axis, way]);
    if (this.queue.length > 1) return;
    while (this.queue.length) {
      const [along, to] = this.queue[0], pane = this.view.panes[this.view.focus];
      if (!this.#isReady(pane, along)) {
        this.load();
        await this.loading;
      }
      if (this.#isReady(pane, along)) this.#go(pane, along, to);
      this.queue.shift();
    }
  }

  /** The places of the chosen image on its lines, beside the arrows. */
  tellPlaces() {
    const { lines } = this.view.panes[this.view.focus];
    for (const place of document.querySelectorAll(".axis")) {
      const { axis } = place.dataset, line = lines?.[axis];
      const [less, more] = place.querySelectorAll("[data-step]");
      const stop = line?.stops[line.at];
      const number = line ? `${line.before + line.at + 1} of ${line.of}` : "";
      place.querySelector("output").textContent = !stop ? "–" : axis === "prompt" ? number : stop.value;
      place.title = stop ? `${line.label}: ${stop.value} (${number})` : "";
      less.disabled = Boolean(line) && line.at === 0;
      more.disabled = Boolean(line) && line.at >= line.stops.length - 1;
    }
  }

  /** Fetch and decode the pictures next to the images, the chosen one's first. */
  preload() {
    const { panes, focus } = this.view;
    const keys = [];
    for (const pane of [panes[focus], ...panes.filter((_, k) => k !== focus)]) {
      const near = pane === panes[focus] ? AHEAD : 1;
      for (const line of Object.values(pane.lines ?? {})) {
        if (line) keys.push(...line.stops.slice(Math.max(0, line.at - near), line.at + near + 1).map((stop) => stop.key));
      }
    }
    for (const key of new Set(keys)) this.#fetch(key);
    for (const key of this.pictures.keys()) {
      if (this.pictures.size <= KEPT) break;
      if (!keys.includes(key)) this.pictures.delete(key);
    }
  }

  #isReady(pane, axis) {
    const moving = this.#movesAll(axis) ? this.view.panes.filter((p) => p.img) : [pane];
    return moving.every((p) => p.lines && p.lines[axis] !== null);
  }

  #movesAll(axis) {
    return (axis === "seed" || axis === "prompt") && this.together?.checked === true;
  }

  #go(pane, axis, way) {
    const line = pane.lines[axis];
    if (!line) { this.#tell(pane.img ? "There is no setting to move along here." : `${pane.letter} is unknown and cannot move.`); return; }
    const others = this.#movesAll(axis) ? this.view.panes.filter((p) => p !== pane && p.lines?.[axis]) : [];
    for (let at = line.at + way; at >= 0 && at < line.stops.length; at += way) {
      const stop = line.stops[at];
      const same = others.map((other) => other.lines[axis].stops.findIndex((s) => s.prompt_id === stop.prompt_id && s.seed === stop.seed));
      if (same.includes(-1)) continue; // a block that one of them was never shown
      this.#place(pane, axis, at);
      others.forEach((other, k) => this.#place(other, axis, same[k]));
      this.#tell(this.#words(pane, line, stop, others));
      this.tellPlaces();
      this.onMove();
      this.load();
      this.preload();
      return;
    }
    const end = line.stops[line.at].value, which = axis === "prompt" ? "this prompt" : `${line.label} ${end}`;
    this.#tell(others.length && line.of > 1 ? `No further ${line.label} that all of them were shown.` : `${pane.letter}: ${which} is the ${way > 0 ? "last" : "first"}.`);
  }

  #place(pane, axis, at) {
    const line = pane.lines[axis], stop = line.stops[at];
    line.at = at;
    pane.lines = Object.fromEntries(AXES.map((name) => [name, name === axis ? line : pane.lines[name] && null]));
    Object.assign(pane, { key: stop.key, promptId: stop.prompt_id, seed: stop.seed, recipe: stop.recipe_id });
    Object.assign(pane.frame.dataset, { key: stop.key, promptId: stop.prompt_id, seed: stop.seed, recipe: stop.recipe_id });
    if (pane.img) {
      pane.img.src = this.#address(stop.key);
      pane.img.alt = `${pane.letter}: ${stop.prompt}, seed ${stop.seed}`;
    }
  }

  /** What this step changed, as against the image that the line was drawn through. */
  #words(pane, line, stop, others) {
    const who = [pane, ...others].map((p) => p.letter).sort().join(" and ");
    if (line.label === "prompt" || line.label === "seed") {
      const also = stop.changed.length && line.label === "prompt" ? ", with another seed" : "";
      return `${who}: ${line.label === "seed" ? `seed ${stop.seed}` : `“${stop.prompt}”`}${also}`;
    }
    const told = stop.changed.map(([name, before, after]) => ({ name, text: `${name} ${before} → ${after}` }));
    const main = told.filter((t) => t.name === line.label), rest = told.filter((t) => t.name !== line.label);
    if (!told.length) return `${who}: back at ${line.label} ${stop.value}`;
    const head = `${who}: ${main.map((t) => t.text).join() || `${line.label} ${stop.value}`}`;
    if (!rest.length) return `${head}, all else the same`;
    return `${head}; also ${rest.map((t) => t.text).join(", ")}: the nearest there is, none differs in ${line.label} alone`;
  }

  #tell(text) { this.told.textContent = text; }

  #address(key) { return `${root}/images/${encodeURIComponent(this.view.study)}/${encodeURIComponent(key)}.png`; }

  #fetch(key) {
    if (this.pictures.has(key)) return;
    const picture = new Image();
    picture.src = this.#address(key);
    picture.decode().catch(() => this.pictures.delete(key));
    this.pictures.set(key, picture);
  }
}
