// The page: ask without leaving it, watch jobs as they go on, thumbs, earlier pictures.
import { morph } from "./morph.js";
import { part, notice } from "./service-part.js";
import { look } from "./service-look.js";

const jobs = document.getElementById("jobs");
const ask = document.getElementById("ask");
const faults = document.getElementById("faults");
const title = document.title;

// -- asking ---------------------------------------------------------------------------------------

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (ask.hasAttribute("aria-busy")) return;
  ask.setAttribute("aria-busy", "true");
  tell([]);
  try {
    const card = await part(ask.action, { method: "POST", body: new FormData(ask) });
    // the next press is another wish; this one, sent twice by a bad line, was one
    ask.elements.once.value = word();
    add(card);
    notice("In the queue");
  } catch (fault) {
    tell(fault.faults?.length ? fault.faults : [fault.message]);
  } finally {
    ask.removeAttribute("aria-busy");
  }
});

ask.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit();
});

for (const chip of document.querySelectorAll("[data-try]")) {
  chip.addEventListener("click", () => {
    if (ask.elements["t-own"].checked) ask.querySelector("input[name=template]").checked = true;
    ask.elements.product.value = chip.dataset.try;
    ask.elements.product.focus();
  });
}

function word() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

function tell(lines) {
  faults.replaceChildren();
  if (!lines.length) return;
  const list = document.createElement("ul");
  for (const line of lines) list.append(Object.assign(document.createElement("li"), { textContent: line }));
  faults.append(list);
}

function add(card) {
  document.getElementById("nothing").hidden = true;
  const known = document.getElementById(card.id);
  if (known) morph(known, card);
  else jobs.prepend(document.importNode(card, true));
  const mine = document.getElementById(card.id);
  watch(mine);
  mine.scrollIntoView({ block: "nearest", behavior: still() ? "auto" : "smooth" });
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// -- watching -------------------------------------------------------------------------------------

const watched = new Set();

function watch(job) {
  if (!job?.dataset.open || watched.has(job.id)) return;
  watched.add(job.id);
  follow(job.id);
  headline();
}

async function follow(id) {
  let tag = "";
  let failures = 0;
  for (;;) {
    const job = document.getElementById(id);
    if (!job?.dataset.open) break;
    const pause = 1000 * Number(job.dataset.asks) * 1.6 ** failures * (document.hidden ? 4 : 1);
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, 20_000)));
    try {
      const answer = { tag };
      const card = await part(job.dataset.open, {}, answer);
      tag = answer.tag;
      failures = 0;
      if (card) morph(job, card);
      headline();
    } catch (fault) {
      if (fault.status === 404 || fault.status === 410) return job.remove();
      failures = Math.min(failures + 1, 6); // a part is away, or the line: it will come back
      if (failures === 3) notice(fault.message, true);
    }
  }
  watched.delete(id);
  ended(document.getElementById(id));
}

function ended(job) {
  headline();
  if (!job) return;
  const made = Number(job.dataset.made);
  const what = `${made} ${made === 1 ? "picture" : "pictures"}`;
  const words = { done: `${what} ready`, failed: "This one failed", cancelled: `Cancelled; ${what} kept` };
  notice(words[job.dataset.state] ?? "", job.dataset.state === "failed");
}

function headline() {
  const bars = [...jobs.querySelectorAll("[data-open] progress")];
  const mean = bars.reduce((sum, bar) => sum + bar.value, 0) / Math.max(1, bars.length);
  document.title = bars.length ? `${Math.round(100 * mean)} % · Teststrip` : title;
}

for (const job of jobs.querySelectorAll("[data-open]")) watch(job);

// -- cancel and thumbs: their forms give the card anew --------------------------------------------

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-part]")) return;
  event.preventDefault();
  const button = event.submitter;
  const body = new FormData(form);
  if (button?.name) body.set(button.name, button.value);
  try {
    const card = await part(form.action, { method: "POST", body });
    const job = document.getElementById(card.id);
    if (job) {
      morph(job, card);
      watch(job);
    }
    look.refresh();
    const words = { up: "Counted as good", down: "Counted as not good", none: "Taken back" };
    if ("thumb" in form.dataset) notice(words[body.get("thumb")]);
  } catch (fault) {
    notice(fault.message, true);
  }
});

// -- earlier pictures, and how busy the service is ------------------------------------------------

jobs.addEventListener("click", async (event) => {
  const more = event.target.closest("[data-more]");
  if (!more) return;
  event.preventDefault();
  try {
    const cards = await part(more.dataset.more, {}, { many: true });
    more.parentElement.remove();
    const first = cards.find((card) => card.matches("article"));
    for (const card of cards) {
      if (document.getElementById(card.id)) continue;
      jobs.append(document.importNode(card, true));
      watch(document.getElementById(card.id));
    }
    document.getElementById(first?.id)?.querySelector("a, button, summary")?.focus({ preventScroll: true });
  } catch (fault) {
    notice(fault.message, true);
  }
});

setInterval(async () => {
  if (document.hidden) return;
  const pulse = document.getElementById("pulse");
  try {
    const root = document.querySelector('meta[name="root"]').content;
    for (const line of await part(`${root}/pulse`, {}, { many: true })) {
      morph(document.getElementById(line.id), line);
    }
    pulse.classList.remove("away");
  } catch {
    pulse.classList.add("away");
  }
}, 4000);
