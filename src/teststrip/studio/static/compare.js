// Compare: what is seen (images, mode, zoom) lives here and in the address; the parts draw it.
import { isTyping, root } from "./studio.js";
import { Heat } from "./compare-heat.js";
import { Overlay } from "./compare-overlay.js";
import { Steering } from "./compare-steer.js";
import { Zoom } from "./compare-zoom.js";

const page = document.getElementById("compare");
const stage = document.getElementById("stage");
const told = document.getElementById("told");
const whole = new Set(); // addresses that are known to hold an image
const GONE = "The original of this image is gone from the store. Its settings and scores are still here.";

const view = {
  study: page.dataset.study,
  paired: page.dataset.paired === "true",
  mode: page.dataset.mode,
  focus: Number(page.dataset.focus),
  other: Math.max(Number(page.dataset.focus), 1),
  x: page.dataset.x,
  y: page.dataset.y,
  panes: [...stage.querySelectorAll(".frame[data-key]")].map((frame) => ({
    frame,
    img: frame.querySelector("img"),
    letter: frame.dataset.letter,
    key: frame.dataset.key,
    promptId: frame.dataset.promptId,
    seed: frame.dataset.seed,
    recipe: frame.dataset.recipe,
    lines: null,
  })),
  /** The two images that are laid over each other: the first, and the one that was chosen last. */
  pair() { return [this.panes[0], this.panes[this.other] ?? this.panes[0]]; },
};

const heat = new Heat(view);
const zoom = new Zoom(stage, view, () => remember());
const overlay = new Overlay(stage, view, heat, zoom);
const steering = new Steering(view, moved);

function query() {
  const q = new URLSearchParams({ study: view.study });
  for (const pane of view.panes) q.append("i", pane.key);
  q.set("mode", view.mode);
  if (view.x) q.set("x", view.x);
  if (view.y) q.set("y", view.y);
  q.set("focus", String(view.focus + 1));
  if (zoom.scale > 1) q.set("z", zoom.text());
  return q;
}

function remember() {
  clearTimeout(remember.timer);
  // Browsers refuse more than some hundred changes of the address within seconds.
  remember.timer = setTimeout(() => history.replaceState(null, "", `${root}/compare?${query()}`), 100);
}

function tell() {
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => {
    const open = [...told.querySelectorAll("details[open]")].map((part) => part.id);
    const all = document.getElementById("all-settings")?.checked ?? false;
    tell.after = () => {
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      const box = document.getElementById("all-settings");
      if (box) box.checked = all;
    };
    window.htmx.ajax("GET", `${root}/compare/told?${query()}`, { target: "#told", source: "#told", swap: "innerHTML" })
      .catch(() => {}); // studio.js has said so
  }, 120);
}

function setMode(mode) {
  if (view.panes.length < 2) mode = "side";
  view.mode = mode;
  overlay.show(mode);
  for (const button of page.querySelectorAll(".modes button")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  for (const part of page.querySelectorAll(".own")) part.hidden = part.dataset.for !== mode;
  remember();
}

function setFocus(k) {
  if (k < 0 || k >= view.panes.length) return;
  view.focus = k;
  if (k > 0) view.other = k;
  for (const button of page.querySelectorAll(".who")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.focus) === k));
  }
  view.panes.forEach((pane, j) => pane.frame.classList.toggle("chosen", j === k));
  overlay.show(view.mode);
  steering.tellPlaces();
  steering.preload();
  remember();
}

/** Images were replaced: draw what hangs on them; the server tells the rest. */
function moved() {
  overlay.changed();
  remember();
  tell();
}

for (const pane of view.panes) {
  if (!pane.img) continue;
  const lost = (isGone) => {
    pane.frame.classList.toggle("gone", isGone);
    if (isGone) pane.frame.querySelector(".lost").textContent = GONE;
  };
  const check = async () => {
    const { src } = pane.img;
    // A picture that says "vanished" loads like any other; only its status tells.
    const isGone = !whole.has(src) && !(await fetch(src, { cache: "force-cache" }).then((r) => r.blob().then(() => r.ok), () => false));
    if (src !== pane.img.src) return; // it has moved on since
    if (!isGone) whole.add(src);
    lost(isGone);
    zoom.fit();
    overlay.changed();
  };
  pane.img.addEventListener("error", () => { lost(true); overlay.changed(); });
  pane.img.addEventListener("load", check);
  if (pane.img.complete) check();
  pane.frame.addEventListener("pointerdown", () => {
    if (view.mode === "side") setFocus(view.panes.indexOf(pane));
  });
}

page.querySelector(".modes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) setMode(button.dataset.mode);
});
page.querySelector(".steer").addEventListener("click", (event) => {
  const who = event.target.closest(".who"), step = event.target.closest("[data-step]");
  if (who) setFocus(Number(who.dataset.focus));
  if (step) steering.step(step.closest(".axis").dataset.axis, Number(step.dataset.step));
});
for (const axis of ["x", "y"]) {
  document.getElementById(`axis-${axis}`)?.addEventListener("change", (event) => {
    const before = view[axis], other = axis === "x" ? "y" : "x";
    view[axis] = event.target.value;
    if (view[other] === view[axis]) {
      view[other] = before;
      const select = document.getElementById(`axis-${other}`);
      if (select) select.value = before;
    }
    event.target.blur(); // so that the arrow keys move the image again
    steering.forget();
    remember();
  });
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target === told) tell.after?.();
});

const LETTERS = { s: "slider", f: "fade", b: "blink", d: "difference", g: "side" };
const ARROWS = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] };

function key(event) {
  const box = event.target.type === "checkbox";
  if (event.ctrlKey || event.metaKey || (isTyping(event) && !box)) return false;
  const arrow = ARROWS[event.key];
  if (arrow) {
    const along = event.altKey ? "prompt" : event.shiftKey ? "seed" : arrow[0];
    // with Shift and Alt, down is the next one, as in a list
    const way = along === arrow[0] || event.key.endsWith("Left") || event.key.endsWith("Right") ? arrow[1] : -arrow[1];
    steering.step(along, way);
    return true;
  }
  if (event.altKey) return false;
  if (event.key === " ") {
    if (box || event.target.closest("button, a, summary") || view.mode !== "blink") return false;
    overlay.flip();
    return true;
  }
  if (/^[1-4]$/.test(event.key)) { setFocus(Number(event.key) - 1); return true; }
  if (LETTERS[event.key] && view.panes.length > 1) { setMode(LETTERS[event.key]); return true; }
  return overlay.key(event.key) || zoom.key(event.key);
}
document.addEventListener("keydown", (event) => { if (key(event)) event.preventDefault(); });

zoom.read(new URLSearchParams(location.search).get("z"));
setMode(view.mode);
setFocus(view.focus);
steering.load();
page.classList.add("ready");
