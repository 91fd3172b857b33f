// The playground: Ctrl+Enter, other seeds, ticked pictures, polling that keeps quiet when nothing changed.
import { isTyping, notice } from "./studio.js";

const ask = document.getElementById("ask");
ask?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit();
});
document.getElementById("faults")?.focus();

const dice = document.querySelector("[data-dice]");
if (dice) {
  dice.hidden = false;
  dice.addEventListener("click", () => {
    const seeds = document.getElementById("f-seeds");
    const first = Math.floor(Math.random() * 2 ** 31);
    const count = Math.max(1, countOf(seeds.value));
    seeds.value = count === 1 ? `${first}` : `${first}-${first + count - 1}`;
    notice(`seeds ${seeds.value}`);
  });
}

function countOf(text) {
  const parts = text.split(/[\s,]+/).filter(Boolean).map((part) => part.match(/^(\d+)(?:-(\d+))?$/));
  return parts.reduce((sum, m) => sum + (m ? Math.max(1, (m[2] ?? m[1]) - m[1] + 1) : 0), 0);
}

// A job that is under way is replaced as it goes on: ticks and news must outlive that.
const ticked = new Set();
const button = document.querySelector("[data-compare]");

function showTicked() {
  if (!button) return;
  for (const box of document.querySelectorAll('input[name="i"]')) box.checked = ticked.has(box.value);
  button.disabled = ticked.size < 2 || ticked.size > 4;
  document.querySelector("[data-chosen]").textContent = ticked.size
    ? `${ticked.size} chosen${ticked.size > 4 ? ", at most four" : ""}`
    : "Tick two to four pictures to compare them.";
}

document.addEventListener("change", (event) => {
  if (event.target.name !== "i") return;
  if (event.target.checked) ticked.add(event.target.value);
  else ticked.delete(event.target.value);
  showTicked();
});
for (const box of document.querySelectorAll('input[name="i"]:checked')) ticked.add(box.value);
showTicked();

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 304) event.detail.shouldSwap = false;
});
const open = new Set([...document.querySelectorAll(".pg-job[hx-get]")].map((job) => job.id));
document.addEventListener("htmx:afterSwap", () => {
  showTicked();
  for (const id of open) {
    const job = document.getElementById(id);
    if (job?.hasAttribute("hx-get")) continue;
    open.delete(id);
    if (job) tell(job);
  }
});

function tell(job) {
  const made = job.dataset.made;
  const words = { done: "ready", failed: "made; the job failed", cancelled: "made; the job was cancelled" };
  notice(`${made} ${made === "1" ? "picture" : "pictures"} ${words[job.dataset.state] ?? ""}`, job.dataset.state === "failed");
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.sure;
  if (question && !window.confirm(question)) event.preventDefault();
});

// One picture: arrows go to the one before and after.
document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (way) document.querySelector(`.pg-one a[rel="${way}"]`)?.click();
});

// Two pictures on each other.
const over = document.querySelector("[data-over]");
const slide = document.querySelector("[data-slide]");
if (over && slide) {
  const place = () => over.style.setProperty("--cut", `${slide.value}%`);
  slide.addEventListener("input", place);
  over.addEventListener("pointermove", (event) => {
    const box = over.getBoundingClientRect();
    slide.value = ((event.clientX - box.left) / box.width) * 100;
    place();
  });
  document.querySelector("[data-difference]").addEventListener("click", (event) => {
    const on = over.classList.toggle("difference");
    event.currentTarget.setAttribute("aria-pressed", String(on));
  });
  place();
}

// The study page: prompts of the history by a click, the file as a download.
for (const chip of document.querySelectorAll("[data-prompt]")) {
  chip.addEventListener("click", () => {
    const list = document.getElementById("s-prompts");
    list.value = `${list.value.trimEnd()}\n${chip.dataset.prompt}`.trimStart();
    chip.remove();
    list.focus();
  });
}
for (const download of document.querySelectorAll("[data-download]")) {
  download.hidden = false;
  download.addEventListener("click", () => {
    const text = document.getElementById(download.dataset.download).textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
    link.download = download.dataset.name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
