// Two to four images for comparison; they stay while the view changes.
import { notice, root } from "./studio.js";
import { el, thumb } from "./wall_dom.js";

const MOST = 4;

export class Tray {
  constructor(node, study, onChange) {
    Object.assign(this, { node, study, onChange, place: `teststrip picked ${study}` });
    try { this.keys = JSON.parse(sessionStorage.getItem(this.place) ?? "[]").slice(0, MOST); } catch { this.keys = []; }
    this.paint();
    node.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.key) this.toggle(button.dataset.key);
      else if (button) { this.keys = []; this.changed(); }
    });
  }

  has(key) { return this.keys.includes(key); }

  toggle(key) {
    if (this.has(key)) this.keys = this.keys.filter((k) => k !== key);
    else if (this.keys.length < MOST) this.keys.push(key);
    else { notice(`at most ${MOST} images are compared; take one out first`); return; }
    this.changed();
  }

  changed() {
    sessionStorage.setItem(this.place, JSON.stringify(this.keys));
    this.paint();
    this.onChange();
  }

  link() {
    const query = new URLSearchParams([["study", this.study], ...this.keys.map((k) => ["i", k])]);
    return `${root}/compare?${query}`;
  }

  compare() {
    if (this.keys.length > 1) location.assign(this.link());
    else notice("select two to four images first: Space, or Ctrl and a click");
  }

  paint() {
    this.node.hidden = this.keys.length === 0;
    const images = this.keys.map((key, i) => {
      const image = el("img", { src: thumb(this.study, key, 48), width: 44, height: 44, alt: "" });
      return el("button", { type: "button", className: "one", title: "Take out", "aria-label": `Take image ${i + 1} out` }, image);
    });
    images.forEach((button, i) => { button.dataset.key = this.keys[i]; });
    const go = this.keys.length > 1
      ? el("a", { className: "button primary", href: this.link() }, `Compare ${this.keys.length}`)
      : el("span", { className: "soft" }, "one more to compare");
    this.node.replaceChildren(...images, go, el("button", { type: "button", className: "quiet" }, "Clear"));
  }
}
