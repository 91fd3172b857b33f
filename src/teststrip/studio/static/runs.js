// A slider over checkpoints: images of the same prompts and seeds change in place.
import { ask, isTyping, notice } from "./studio.js";

const run = document.getElementById("run");
const slider = document.getElementById("slider");
const flip = document.getElementById("flip");
const places = [...run.querySelectorAll("[data-place]")];
const rows = [...run.querySelectorAll("tr[data-step]")];
let steps = [], shots = {}, now = run.dataset.now, flipped = false;

const nameOf = (step) => (step === "0" ? "base model" : `step ${Number(step).toLocaleString("en")}`);

function show(step) {
  now = step;
  const shown = flipped ? "0" : step;
  const at = steps.indexOf(step);
  slider.value = at;
  slider.setAttribute("aria-valuetext", nameOf(step));
  document.getElementById("now").textContent = nameOf(step);
  for (const place of places) {
    const address = shots[shown]?.[place.dataset.place];
    const image = place.querySelector(".mine");
    image.hidden = !address;
    image.nextElementSibling.hidden = Boolean(address);
    if (address && image.getAttribute("src") !== address) image.src = address;
    const prompt = image.alt.slice(image.alt.indexOf(":"));
    image.alt = nameOf(shown) + prompt;
    place.querySelector(".mine-name").textContent = nameOf(shown);
  }
  run.classList.toggle("flipped", flipped);
  for (const row of rows) {
    if (row.dataset.step === step) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  for (const line of run.querySelectorAll("line.at")) line.classList.toggle("now", line.dataset.step === step);
  for (const [id, way] of [["before", -1], ["after", 1]]) {
    const next = steps[Math.min(Math.max(at + way, 0), steps.length - 1)];
    document.getElementById(id).href = `?step=${next}`;
  }
  history.replaceState(null, "", `?step=${step}`);
  for (const near of [steps[at + 1], steps[at - 1]]) preload(near);
}

const seen = new Set();
function preload(step) {
  for (const address of Object.values(shots[step] ?? {})) {
    if (seen.has(address)) continue;
    seen.add(address);
    new Image().src = address;
  }
}

function move(way) {
  const to = Math.min(Math.max(steps.indexOf(now) + way, 0), steps.length - 1);
  if (steps[to] !== now) show(steps[to]);
}

function turn() {
  if (!flip) return;
  flipped = !flipped;
  flip.setAttribute("aria-pressed", String(flipped));
  show(now);
}

if (slider) {
  try {
    shots = (await ask(`/runs/${encodeURIComponent(run.dataset.name)}/samples.json`)).steps;
    steps = Object.keys(shots).sort((a, b) => a - b);
    run.dataset.ready = "true";
    preload(steps[steps.indexOf(now) + 1]);
    preload(steps[steps.indexOf(now) - 1]);
  } catch (error) {
    notice(error.message, true);
  }
  slider.addEventListener("input", () => show(steps[slider.value]));
  flip?.addEventListener("click", turn);
  run.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-step], #before, #after");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !steps.length) return;
    const step = new URL(link.href).searchParams.get("step");
    if (!shots[step]) return;
    event.preventDefault();
    show(step);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !steps.length) return;
    if (isTyping(event) && event.target !== slider) return;
    const act = {
      ArrowLeft: () => move(-1), ArrowRight: () => move(1),
      Home: () => show(steps[0]), End: () => show(steps.at(-1)), b: turn, B: turn,
    }[event.key];
    if (!act || event.target.closest(".scroll")) return;
    event.preventDefault();
    act();
  });
}
