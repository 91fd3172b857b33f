// One image large, with what it was made of; arrows go to the next in its list.
import { ask, root } from "./studio.js";
import { el, original, short, thumb } from "./wall_dom.js";

export class Look {
  constructor(node, study, tray) {
    Object.assign(this, { node, study, tray, list: null, number: 0, turn: 0 });
    node.addEventListener("keydown", (event) => this.key(event));
    node.addEventListener("click", (event) => { if (event.target === node) node.close(); });
  }

  /** `list`: {count, key(number) -> key or a promise of it, name, all: address of all images}. */
  open(list, number) {
    Object.assign(this, { list, number });
    this.node.replaceChildren();
    if (!this.node.open) this.node.showModal();
    this.show();
  }

  async show() {
    const turn = ++this.turn;
    const key = await this.list.key(this.number);
    if (turn !== this.turn) return;
    if (!key) { this.node.replaceChildren(this.bar(null), el("p", {}, "This image failed.")); return; }
    this.shown = key;
    let facts;
    try {
      facts = await ask(`/wall/image.json?${new URLSearchParams({ study: this.study, i: key })}`);
    } catch (fault) {
      this.node.replaceChildren(this.bar(key), el("p", { className: "fault" }, fault.message));
      return;
    }
    if (turn !== this.turn) return;
    const image = el("img", { className: "large", src: thumb(this.study, key, 600), alt: `${facts.prompt}, seed ${facts.seed}` });
    const file = el("a", { href: original(this.study, key), target: "_blank", rel: "noopener", title: "The original" }, image);
    this.node.replaceChildren(this.bar(key), el("div", { className: "both" }, el("div", { className: "frame" }, file), this.facts(facts, key)));
    this.node.querySelector(".pick").focus({ preventScroll: true });
  }

  bar(key) {
    const step = (by, label, text) => {
      const button = el("button", { type: "button", className: "quiet", title: label, "aria-label": label, disabled: !this.has(this.number + by) }, text);
      button.addEventListener("click", () => this.step(by));
      return button;
    };
    const shut = el("button", { type: "button", className: "quiet", "aria-label": "Close", title: "Close (Esc)" }, "✕");
    shut.addEventListener("click", () => this.node.close());
    const pick = el("button", { type: "button", className: "pick", disabled: !key, "aria-pressed": String(Boolean(key && this.tray.has(key))) }, "Select for comparison");
    pick.addEventListener("click", () => this.pick());
    return el("div", { className: "bar" }, step(-1, "Before (←)", "←"),
      el("span", { className: "soft num" }, `${(this.number + 1).toLocaleString("en")} of ${this.list.count.toLocaleString("en")}`), step(1, "Next (→)", "→"), pick,
      this.list.all ? el("a", { href: this.list.all }, "All images of this cell") : null, shut);
  }

  facts(facts, key) {
    const link = (path, pairs, text) => el("a", { href: `${root}${path}?${new URLSearchParams([["study", this.study], ...pairs])}` }, text);
    const row = (name, value, more, isDifferent) =>
      el("tr", { className: isDifferent ? "differs" : "" }, el("th", { scope: "row" }, name), el("td", { className: "num" }, value), el("td", { className: "soft" }, more ?? ""));
    const settings = facts.settings.map((s) => {
      const differs = s.baseline !== null && s.baseline !== s.value;
      return row(s.label, s.value, differs ? `baseline ${s.baseline}` : "", differs);
    });
    const scores = facts.scores.map((s) => row(s.name, short(s.value), s.low === null ? "" : `${short(s.low)} to ${short(s.high)}, ${s.higher_is_better ? "higher" : "lower"} is better`));
    if (facts.lead !== null) scores.push(row("lead", short(facts.lead), "over the same prompt and seed; positive is better"));
    if (facts.disagreement !== null) scores.push(row("disagreement", short(facts.disagreement), "between scorers, 0 to 1"));
    if (facts.seconds !== null) scores.push(row("seconds", short(facts.seconds)));
    const table = (caption, rows) => el("table", {}, el("caption", {}, caption), el("tbody", {}, ...rows));
    const same = [["x", "none"], ["y", "none"], ["f.prompt_id", facts.prompt_id], ["f.seed", String(facts.seed)], ["sort", facts.lead === null ? "order" : "lead"]];
    return el("div", { className: "facts" },
      el("p", { className: "prompt" }, facts.prompt ?? ""),
      el("p", { className: "soft" }, [`seed ${facts.seed}`, facts.split, facts.tags.join(", "), facts.is_baseline ? "the baseline" : `recipe ${facts.recipe}`].filter(Boolean).join(" · ")),
      facts.settings.length ? table("Settings that vary in this study", settings) : null,
      el("p", { className: "links" },
        facts.baseline_key ? link("/compare", [["i", facts.baseline_key], ["i", key]], "Compare with the baseline") : null,
        link("/wall", same, "Same prompt and seed, all settings"),
        facts.recipe ? link("/wall", [["f.recipe_id", facts.recipe]], "All images of this recipe") : null,
        el("a", { href: original(this.study, key), target: "_blank", rel: "noopener" }, "Original")),
      scores.length ? table("Scores", scores) : null);
  }

  has(number) { return number >= 0 && number < this.list.count; }

  step(by) {
    if (!this.has(this.number + by)) return;
    this.number += by;
    this.show();
  }

  pick() {
    this.tray.toggle(this.shown);
    this.node.querySelector(".pick")?.setAttribute("aria-pressed", String(this.tray.has(this.shown)));
  }

  key(event) {
    const act = { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), " ": () => this.pick(), c: () => this.tray.compare() }[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
}
