// Polls for news: as often as Retry-After says, rarely in a hidden tab, ever more rarely while the
// server does not answer. 304 (nothing new) costs no drawing.
import { csrf, notice, root } from "./studio.js";
import { morph } from "./morph.js";

const HIDDEN_TIMES = 10, LONGEST_S = 60;
const place = document.getElementById("studies");
const pulse = document.getElementById("pulse");
let etag = pulse.dataset.etag;
let wait = Number(pulse.dataset.wait);
let faults = 0, timer = 0, asking = false;

function later() {
  clearTimeout(timer);
  const backoff = faults ? Math.min(2 ** faults, LONGEST_S) : 1;
  const seconds = Math.min(wait * backoff, Math.max(LONGEST_S, wait)) * (document.hidden ? HIDDEN_TIMES : 1);
  timer = setTimeout(look, 1000 * seconds);
  return seconds;
}

async function look() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const response = await fetch(`${root}/live/studies`, {
      headers: { "If-None-Match": etag, "HX-Request": "true" }, cache: "no-store",
    });
    const hint = Number(response.headers.get("Retry-After"));
    if (hint > 0) wait = hint;
    if (response.status === 200) show(await response.text(), response.headers.get("ETag"));
    else if (response.status !== 304) throw new Error(`the server answered ${response.status}`);
    faults = 0;
    pulse.classList.remove("fault");
    pulse.textContent = `Looks for news every ${wait === 1 ? "second" : `${wait} seconds`}.`;
    later();
  } catch (error) {
    faults += 1;
    const seconds = later();
    pulse.classList.add("fault");
    const said = error instanceof TypeError ? "The server does not answer" : error.message;
    pulse.textContent = `${said}; tries again in ${Math.round(seconds)} s.`;
  } finally {
    asking = false;
  }
}

function show(html, tag) {
  const page = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html");
  morph(place, Object.assign(page.body.firstChild, { id: place.id }), (fresh) => {
    if (fresh.closest(".shots") && fresh.nodeName === "LI") fresh.classList.add("new");
  });
  etag = tag;
  tick();
}

const SPANS = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** What changes with the clock alone: time left, and how long ago. */
function tick() {
  for (const each of place.querySelectorAll("time.until")) {
    const left = Math.max(0, Math.round(Number(each.dataset.until) - Date.now() / 1000));
    const hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60;
    const text = left < 60 ? `${left} s`
      : hours ? `${hours} h ${String(minutes).padStart(2, "0")} min`
        : `${minutes} min ${String(left % 60).padStart(2, "0")} s`;
    if (each.textContent !== text) each.textContent = text;
  }
  for (const each of place.querySelectorAll("time.when")) {
    const past = (Date.now() - Date.parse(each.dateTime)) / 1000;
    if (!(past >= 0)) continue;
    const [size, unit] = SPANS.find(([s]) => past >= s) ?? SPANS.at(-1);
    const text = past < 10 ? "just now" : ago.format(-Math.floor(past / size), unit);
    if (each.textContent !== text) each.textContent = text;
    each.title ||= new Date(each.dateTime).toLocaleString();
  }
}

place.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-quiet]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const response = await fetch(form.action, {
      method: "POST", body: new FormData(form),
      headers: { Accept: "application/json", "X-CSRF-Token": csrf },
    });
    const body = await response.json();
    if (!response.ok) throw new Error(body.error ?? "the form was refused; see its numbers");
    notice(`${body.name}: ${body.state}`);
  } catch (error) {
    button.disabled = false;
    notice(error.message, true);
  }
  wait = 1;
  look();
});

document.addEventListener("visibilitychange", () => (document.hidden ? later() : look()));
setInterval(() => { if (!document.hidden) tick(); }, 1000);
tick();
later();
