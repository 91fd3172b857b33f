// Stars and rejects by key or click; each mark is stored at once.
import { ask, isTyping, notice } from "./studio.js";

const gallery = document.getElementById("gallery");
const study = gallery?.dataset.study;
const shots = gallery ? [...gallery.children] : [];
const done = [];
const KEYS = { f: "star", r: "reject" };

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function paint(shot, mark) {
  shot.dataset.mark = mark;
  for (const button of shot.querySelectorAll("button[data-mark]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
  }
}

function count(mark, by) {
  const place = { star: "stars", reject: "rejects" }[mark];
  if (place) {
    const node = document.getElementById(place);
    node.textContent = Number(node.textContent) + by;
  }
}

async function set(shot, mark, isUndo = false) {
  const before = shot.dataset.mark;
  if (before === mark) return;
  paint(shot, mark);
  count(before, -1);
  count(mark, 1);
  if (!isUndo) done.push([shot, before]);
  try {
    const reply = await ask("/rate/mark", { json: { study, id: newId(), image: shot.dataset.key, mark } });
    document.getElementById("standing").textContent = reply.standing;
  } catch (fault) {
    if (shot.dataset.mark === mark) {
      paint(shot, before);
      count(mark, -1);
      count(before, 1);
    }
    notice(fault.message, true);
  }
}

function turn(shot, mark) {
  set(shot, shot.dataset.mark === mark ? "" : mark);
}

function columns() {
  const top = shots[0].offsetTop;
  const next = shots.findIndex((shot) => shot.offsetTop > top);
  return next < 0 ? shots.length : next;
}

gallery?.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-mark]");
  if (button) turn(button.closest(".shot"), button.dataset.mark);
});
document.addEventListener("keydown", (event) => {
  if (!shots.length || isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = shots.indexOf(document.activeElement.closest?.(".shot"));
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (steps[key]) {
    const to = at < 0 ? 0 : Math.min(Math.max(at + steps[key], 0), shots.length - 1);
    shots[to].querySelector("a").focus();
  } else if (KEYS[key] && at >= 0 && !event.repeat) turn(shots[at], KEYS[key]);
  else if (key === "u" && done.length) {
    const [shot, before] = done.pop();
    set(shot, before, true);
    shot.querySelector("a").focus();
  } else return;
  event.preventDefault();
});
if (gallery) gallery.dataset.ready = "1";
