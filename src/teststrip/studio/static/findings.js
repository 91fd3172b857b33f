// Drawings whose marks are links: a tip on hover and focus, arrow keys along a curve, copy buttons.
import { copy, isTyping, notice } from "./studio.js";

const SVG = "http://www.w3.org/2000/svg";
const tip = document.getElementById("tip");
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Each mark gets a place to hit (18 px around its dot); only one of a drawing is a tab stop. */
function enhance(inside) {
  for (const svg of inside.querySelectorAll('svg[role="group"]')) {
    const marks = [...svg.querySelectorAll("a.mark")];
    marks.forEach((mark, k) => {
      if (mark.dataset.ready) return;
      mark.dataset.ready = "1";
      mark.querySelector("title")?.remove(); // our tip says the same, at once and on focus too
      mark.setAttribute("tabindex", k ? "-1" : "0");
      const box = mark.querySelector(".dot").getBBox();
      const halo = document.createElementNS(SVG, "circle");
      halo.setAttribute("class", "hit");
      halo.setAttribute("cx", box.x + box.width / 2);
      halo.setAttribute("cy", box.y + box.height / 2);
      halo.setAttribute("r", marks.length > 60 ? 7 : 11);
      mark.prepend(halo);
    });
  }
  for (const pre of inside.querySelectorAll("pre")) {
    if (pre.parentElement.classList.contains("copyable")) continue;
    const around = document.createElement("div");
    around.className = "copyable";
    pre.replaceWith(around);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => {
      copy(pre.textContent).catch(() => notice("the browser did not allow it", true));
    });
    around.append(pre, button);
  }
  inside.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

/** The mark's words beside it, inside the window. */
function show(mark) {
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const at = mark.querySelector(".dot").getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(at.x + at.width / 2 - width / 2, 8), innerWidth - width - 8);
  const above = at.y - height - 12;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : at.bottom + 12}px`;
}

const hide = () => { tip.hidden = true; };
const markOf = (event) => event.target.closest?.("a.mark");

document.addEventListener("mouseover", (event) => { const m = markOf(event); if (m) show(m); });
document.addEventListener("mouseout", (event) => { if (markOf(event)) hide(); });
document.addEventListener("focusin", (event) => { const m = markOf(event); if (m) show(m); else hide(); });
document.addEventListener("scroll", hide, { passive: true, capture: true });

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  const mark = markOf(event), step = STEPS[event.key];
  if (!mark || !step || event.ctrlKey || event.metaKey || event.altKey) return;
  const marks = [...mark.closest("svg").querySelectorAll("a.mark")];
  marks.sort((a, b) => place(a) - place(b));
  const next = marks[marks.indexOf(mark) + step];
  event.preventDefault();
  if (!next) return;
  mark.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus({ preventScroll: false });
});

/** Marks from left to right; the lines of a drawing one after another. */
function place(mark) {
  const lines = [...mark.closest("svg").querySelectorAll("g.line")];
  return lines.indexOf(mark.closest("g.line")) * 1e6 + mark.querySelector(".dot").getBBox().x;
}

// A whole row of the ranking leads to its images; its own links and selected text come first.
document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (!row || event.target.closest("a, button") || String(getSelection())) return;
  if (event.ctrlKey || event.metaKey) open(row.dataset.href, "_blank", "noopener");
  else location.assign(row.dataset.href);
});

// Sorting and filtering the ranking swaps it in place; without a script they are plain links.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("#ranking thead a, #ranking .verdicts a, #ranking .pager a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  await swap(link.href, true, link.id);
});
addEventListener("popstate", () => {
  if (document.getElementById("ranking")) swap(location.href, false, "");
});

async function swap(address, push, focused) {
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("ranking");
    if (!fresh) return location.assign(address);
    document.getElementById("ranking").replaceWith(fresh);
    if (push) history.pushState(null, "", address);
    if (focused) document.getElementById(focused)?.focus();
    enhance(fresh);
  } catch (error) {
    notice(error.message, true);
  }
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { "[": -1, "]": 1 }[event.key];
  if (!step) return;
  const tabs = [...document.querySelectorAll(".tabs a")];
  tabs[tabs.findIndex((tab) => tab.hasAttribute("aria-current")) + step]?.click();
});

document.addEventListener("htmx:afterSettle", () => enhance(document.getElementById("evidence")));
enhance(document);
