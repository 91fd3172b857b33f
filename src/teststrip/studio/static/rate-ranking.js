// The ranking beside the pairs: hidden until asked for, since it could sway the rater.
const panel = document.getElementById("ranking");
const button = document.getElementById("toggle");
let mine = false;
let asking = false;
let again = false;

/** Load it anew, if it is open; votes that come meanwhile are shown by one more look. */
export async function showRanking(study) {
  if (panel.hidden) return;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  if (!panel.firstElementChild) panel.textContent = "Worked out from all votes so far...";
  const root = document.querySelector('meta[name="root"]').content;
  const query = new URLSearchParams({ study, mine: String(mine) });
  try {
    await htmx.ajax("GET", `${root}/rate/ranking?${query}`, { target: panel, swap: "innerHTML" });
  } finally {
    asking = false;
  }
  if (again) {
    again = false;
    showRanking(study);
  }
}

export function toggleRanking(study, open = panel.hidden) {
  panel.hidden = !open;
  panel.parentElement.classList.toggle("with-ranking", open);
  button.setAttribute("aria-expanded", String(open));
  button.textContent = open ? "Hide the ranking" : "Show the ranking";
  panel.dataset.study = study;
  showRanking(study);
}

panel.addEventListener("click", (event) => {
  const who = event.target.closest("[data-mine]");
  if (!who) return;
  mine = who.dataset.mine === "1";
  showRanking(panel.dataset.study);
});
