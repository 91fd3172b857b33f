// The wall: the form says what to show, the server answers with cells or pages, the stage hangs them.
import { ask, isTyping, notice, root } from "./studio.js";
import { el, formatter, many } from "./wall_dom.js";
import { Flat } from "./wall_flat.js";
import { add, address, drop, form, settle, swap, toggleShow } from "./wall_form.js";
import { Grid } from "./wall_grid.js";
import { Look } from "./wall_look.js";
import { Tray } from "./wall_tray.js";

const POLL_MS = 4000, TYPING_MS = 250;
const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const study = form?.elements.study.value;
let hung = null, data = null, turn = 0, timer = 0;

const tray = form && new Tray(byId("tray"), study, () => hung?.repaint());
const look = form && new Look(byId("look"), study, tray);

async function load(isAgain = false) {
  const mine = ++turn;
  clearTimeout(timer);
  const wanted = address();
  const said = new URLSearchParams(wanted);
  const isFlat = ["x", "y", "x2", "y2"].every((name) => said.get(name) === "none");
  stage.setAttribute("aria-busy", "true");
  try {
    const found = await ask(`/wall/${isFlat ? "images" : "cells"}.json?${wanted}`);
    if (mine !== turn) return;
    if (!(isAgain && data?.version === found.version)) show(found, isFlat, isAgain);
  } catch (fault) {
    if (mine !== turn) return;
    hung = data = null;
    stage.setAttribute("role", "region");
    stage.replaceChildren(el("div", { className: "empty", role: "alert" }, el("h2", {}, "Not like this"), el("p", { className: "lines" }, fault.message)));
    byId("told").replaceChildren();
  }
  stage.setAttribute("aria-busy", "false");
  if (form.dataset.state === "running") timer = setTimeout(() => load(true), POLL_MS);
}

function show(found, isFlat, isAgain) {
  const before = { top: stage.scrollTop, left: stage.scrollLeft, at: hung?.at, number: hung?.number, slot: hung?.slot };
  const isSame = isAgain || (data && sameLines(data, found));
  data = found;
  form.dataset.state = found.state;
  history.replaceState(null, "", `${root}/wall?${found.address}`);
  tell(found, isFlat);
  saveLinks(found.address);
  document.body.classList.toggle("flat-view", isFlat);
  if (found.counts.total === 0 || (!isFlat && found.cells.length === 0)) { hung = null; nothing(found); return; }
  const options = {
    show: form.elements.show.value, per: Number(form.elements.per.value), size: Number(form.elements.size.value),
    isPicked: (key) => tray.has(key), onFault: (fault) => notice(fault.message, true),
  };
  hung = isFlat ? new Flat(stage, found, options) : new Grid(stage, found, options);
  if (isSame) {
    if (before.at && hung.at) Object.assign(hung.at, before.at);
    if (before.number !== undefined && hung.number !== undefined) hung.number = Math.min(before.number, hung.total - 1);
    hung.slot = before.slot ?? 0;
  }
  stage.scrollTop = isSame ? before.top : 0;
  stage.scrollLeft = isSame ? before.left : 0;
  hung.render();
}

const sameLines = (a, b) => a.rows && b.rows && a.rows.length === b.rows.length && a.columns.length === b.columns.length;

function nothing(found) {
  stage.setAttribute("role", "region");
  stage.removeAttribute("aria-activedescendant");
  const clear = el("button", { type: "button" }, "Clear all filters");
  clear.addEventListener("click", () => clearAll(found));
  const isHidden = found.counts.total > 0;
  stage.replaceChildren(el("div", { className: "empty" }, el("h2", {}, isHidden ? "Everything is hidden" : "No image fits"),
    el("p", {}, isHidden ? "All values of an axis are hidden." : `None of ${many(found.counts.all, "image")} passes these filters.`), clear));
}

function clearAll(found) {
  drop([...found.chips.flatMap((chip) => chip.names), ...(found.hidden ?? []).map((h) => h.name)]);
}

function tell(found, isFlat) {
  const { counts, chips } = found;
  const better = found.score ? `${found.score}, ${found.higher_is_better ? "higher" : "lower"} is better` : "";
  const parts = [counts.total === counts.all ? many(counts.all, "image") : `${counts.total.toLocaleString("en")} of ${many(counts.all, "image")}`];
  if (!isFlat) parts.push(many(found.cells.length, "cell"));
  parts.push(many(counts.recipes, "recipe"), many(counts.prompts, "prompt"));
  if (counts.failed) parts.push(`${counts.failed.toLocaleString("en")} failed`);
  if (found.state === "running") parts.push("the study is running");
  const line = el("p", {}, parts.join(" · "));
  const why = [];
  if (!isFlat) {
    if (found.averaged.length) why.push(`averaged over ${found.averaged.join(", ")}`);
    if (found.score) why.push("mean of prompt means, 95 % interval (t)");
    if (!found.paired) why.push("recipes share no prompts and seeds here: means do not compare like with like");
    else if (form.elements.show.value === "images") why.push("images at the same prompts and seeds in every cell");
    const uneven = unevenness(found);
    if (uneven) why.push(uneven);
  }
  byId("told").replaceChildren(line, legend(found, isFlat, better), chipsOf(found, chips), el("p", { className: "soft why" }, why.join("; ")));
  byId("filter").textContent = chips.length ? `Filter (${chips.length})` : "Filter";
}

/** Cells on other prompts differ by these too; the lead is reckoned within a prompt and seed. */
function unevenness(found) {
  const prompts = found.cells.map((c) => c[5]).filter((n) => n > 0);
  const [least, most] = [Math.min(...prompts), Math.max(...prompts)];
  if (!found.paired || found.by_block || found.score === "lead" || prompts.length < 2 || least === most) return "";
  return `cells rest on ${least} to ${most} prompts (the score “lead” compares within the same prompt and seed)`;
}

function legend(found, isFlat, better) {
  const { heat } = found;
  if (isFlat || !heat) return el("span", { className: "legend" }, better);
  const format = formatter(heat.low, heat.high);
  const ends = [(heat.below ? "≤ " : "") + format(heat.low), (heat.above ? "≥ " : "") + format(heat.high)];
  if (!found.higher_is_better) ends.reverse();
  const title = heat.below || heat.above ? "The tint runs over the middle 90 % of the cells' means; what is beyond has the colour of its end" : "The tint runs over all cells' means";
  return el("span", { className: "legend", title }, better, el("span", { className: "num" }, ends[0]),
    el("span", { className: "scale", "aria-hidden": "true" }), el("span", { className: "num" }, ends[1]));
}

function chipsOf(found, chips) {
  const made = chips.map((chip) => oneChip(chip.label, () => drop(chip.names)));
  for (const gone of found.hidden ?? []) made.push(oneChip(`hidden: ${gone.label}`, () => drop([gone.name], gone.value)));
  if (made.length > 1) {
    const all = el("button", { type: "button", className: "quiet small" }, "Clear all");
    all.addEventListener("click", () => clearAll(found));
    made.push(all);
  }
  return el("span", { className: "chips" }, ...made);
}

function oneChip(label, act) {
  const button = el("button", { type: "button", className: "chip", title: "Take this away" }, label, el("span", { "aria-hidden": "true" }, " ✕"));
  button.addEventListener("click", act);
  return button;
}

function saveLinks(query) {
  for (const link of document.querySelectorAll("[data-export]")) link.href = `${root}/wall/export.${link.dataset.export}?${query}`;
  document.querySelector("[data-plain]").href = `${root}/wall/table?${query}`;
}

/** This view without axes and with a cell's (or line's) values. */
function narrowed(filter, keepsAxes = false) {
  const query = new URLSearchParams(data.address);
  for (const name of filter.map(([n]) => n)) query.delete(name);
  for (const [name, value] of filter) query.append(name, value);
  if (!keepsAxes) for (const axis of ["x", "y", "x2", "y2"]) query.set(axis, "none");
  for (const name of [...query.keys()]) if (name.startsWith("hide.")) query.delete(name);
  return query;
}

function open(at) {
  if (!hung) return;
  if (hung instanceof Flat) {
    const number = at ?? hung.number;
    look.open({ count: hung.total, key: (n) => keyOf(n) }, number);
    return;
  }
  const shown = hung.shown();
  if (!shown.length) return;
  const now = shown.findIndex((s) => s.slot === (at ?? hung.current().slot));
  look.open({ count: shown.length, key: (n) => shown[n].key, all: `${root}/wall?${narrowed(hung.filter())}` }, Math.max(0, now));
}

async function keyOf(number) {
  if (!hung.image(number)) {
    const body = await ask(`/wall/images.json?${data.address}&first=${number}&count=1`);
    return body.images[0]?.failed ? null : body.images[0]?.key;
  }
  hung.number = number;
  hung.reveal();
  return hung.image(number).failed ? null : hung.image(number).key;
}

function pick() {
  const now = hung?.current();
  if (now) tray.toggle(now.key);
}

function hide(kind) {
  if (!hung?.at) return;
  const line = kind === "c" ? data.columns[hung.at.column] : data.rows[hung.at.row];
  const last = line.hide.at(-1);
  if (last) add(last[0], last[1]);
}

function menuOf(button) {
  const kind = button.dataset.c === undefined ? "r" : "c";
  const line = (kind === "c" ? data.columns : data.rows)[Number(button.dataset[kind])];
  const menu = byId("headmenu");
  const one = (text, act) => {
    const made = el("button", { type: "button", className: "quiet" }, text);
    made.addEventListener("click", () => { menu.close(); act(); });
    return made;
  };
  menu.replaceChildren(el("p", {}, hung.title(kind, Number(button.dataset[kind]))),
    ...line.hide.map(([n, value, label]) => one(line.hide.length > 1 ? `Hide ${label}` : "Hide", () => add(n, value))),
    one("Only this", () => location.assign(`${root}/wall?${narrowed(line.filter, true)}`)),
    one("All its images", () => location.assign(`${root}/wall?${narrowed(line.filter)}`)), one("Cancel", () => {}));
  menu.showModal();
}

function filters(isOpen) {
  byId("filters").hidden = !isOpen;
  byId("filter").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) byId("q").focus();
  else stage.focus({ preventScroll: true });
  hung?.measure();
  hung?.hang();
}

const ON_STAGE = {
  ArrowUp: () => hung.move(-1, 0), ArrowDown: () => hung.move(1, 0), ArrowLeft: () => hung.move(0, -1), ArrowRight: () => hung.move(0, 1),
  PageUp: () => hung.move(-hung.page(), 0), PageDown: () => hung.move(hung.page(), 0),
  Home: () => hung.move(hung.at ? 0 : -1e9, -1e9), End: () => hung.move(hung.at ? 0 : 1e9, 1e9),
  Enter: () => open(), " ": () => pick(), h: () => hide("c"), H: () => hide("r"),
  a: () => hung.at && location.assign(`${root}/wall?${narrowed(hung.filter())}`),
};
const ANYWHERE = {
  x: swap, m: toggleShow, c: () => tray.compare(), "/": () => filters(true), "?": () => byId("keys").showModal(),
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && !byId("filters").hidden) { filters(false); return; }
  if (isTyping(event) && !/^(checkbox|radio)$/.test(event.target.type)) return;
  const onStage = (event.target === stage || event.target === document.body) && hung;
  const act = (onStage && ON_STAGE[event.key]) || ANYWHERE[event.key];
  if (act && onStage) stage.focus({ preventScroll: true });
  if (act) { event.preventDefault(); act(); return; }
  if (onStage && hung.at && /^[1-9]$/.test(event.key)) { hung.slot = Number(event.key) - 1; hung.mark(); }
}

function click(event) {
  const name = event.target.closest("button.name");
  if (name) { menuOf(name); return; }
  const cell = event.target.closest(".cell, .tile");
  if (!cell || !hung) return;
  const image = event.target.closest(".pic");
  if (cell.dataset.at) {
    const [row, column] = cell.dataset.at.split(",").map(Number);
    hung.at = { row, column };
    if (image) hung.slot = Number(image.dataset.slot) - 1;
  } else hung.number = Number(cell.dataset.number);
  hung.mark();
  if (image && (event.ctrlKey || event.metaKey || event.shiftKey)) tray.toggle(image.dataset.key);
  else if (image) open();
}

if (form) {
  let waits = 0;
  form.addEventListener("submit", (event) => { event.preventDefault(); load(); });
  form.addEventListener("change", (event) => {
    if (event.target.dataset?.goes !== undefined) { location.assign(`${root}/wall?${new URLSearchParams({ study: event.target.value })}`); return; }
    if (event.target.dataset?.axis !== undefined) settle(event.target);
    clearTimeout(waits);
    load();
  });
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search" && event.target.type !== "text") return;
    clearTimeout(waits);
    waits = setTimeout(load, TYPING_MS);
  });
  let asked = 0;
  stage.addEventListener("scroll", () => { asked ||= requestAnimationFrame(() => { asked = 0; hung?.render(); }); }, { passive: true });
  stage.addEventListener("click", click);
  stage.addEventListener("dblclick", (event) => { if (!event.target.closest(".pic") && event.target.closest(".cell")) open(); });
  document.addEventListener("keydown", key);
  byId("swap").addEventListener("click", swap);
  byId("filter").addEventListener("click", () => filters(byId("filters").hidden));
  byId("help").addEventListener("click", () => byId("keys").showModal());
  let wide = stage.clientWidth;
  new ResizeObserver(() => {
    if (stage.clientWidth === wide) { hung?.render(); return; }
    wide = stage.clientWidth;
    hung?.measure();
    hung?.hang();
  }).observe(stage);
  load();
}
