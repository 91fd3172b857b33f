// One picture large, with what can be done to it; arrows go to the others of the page.
const dialog = document.getElementById("look");
const frame = dialog.querySelector(".frame");
let shown = "";

const all = () => [...document.querySelectorAll("#jobs li:has([data-look])")];

function show(item) {
  shown = item.id;
  const copy = item.querySelector("figure").cloneNode(true);
  const link = copy.querySelector("[data-look]");
  const picture = link.querySelector("img");
  link.replaceWith(picture);
  const job = item.closest("article");
  const words = document.createElement("p");
  words.className = "what";
  words.textContent = job.querySelector("h2").title;
  const settings = job.querySelector(".settings dl").cloneNode(true);
  const side = document.createElement("div");
  side.className = "side";
  side.append(words, copy.querySelector("figcaption"), settings);
  const items = all();
  const at = items.indexOf(item);
  const buttons = [
    tool("left", "Picture before", items[at - 1]),
    tool("right", "Next picture", items[at + 1]),
    tool("close", "Close", null),
  ];
  const had = dialog.contains(document.activeElement) && document.activeElement.dataset.way;
  frame.replaceChildren(picture, side, ...buttons);
  if (!dialog.open) dialog.showModal();
  (frame.querySelector(`[data-way="${had || "close"}"]:not([disabled])`) ?? buttons[2]).focus();
}

function tool(way, words, to) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.way = way;
  button.setAttribute("aria-label", words);
  button.disabled = way !== "close" && !to;
  const draw = { left: "M14.5 6L8.5 12l6 6", right: "M9.5 6l6 6-6 6", close: "M6 6l12 12M18 6L6 18" };
  button.innerHTML = `<svg class="icon" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"><path d="${draw[way]}"/></svg>`;
  button.addEventListener("click", () => (way === "close" ? dialog.close() : to && show(to)));
  return button;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("#jobs [data-look]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link.closest("li"));
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside the picture
});
dialog.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  if (way) frame.querySelector(`[data-way="${way}"]`)?.click();
});
dialog.addEventListener("close", () => {
  document.getElementById(shown)?.querySelector("[data-look]")?.focus({ preventScroll: true });
  frame.replaceChildren();
});

export const look = {
  /** Show what changed, such as a thumb. */
  refresh() {
    const item = document.getElementById(shown);
    if (!dialog.open || !item) return;
    const mine = [...frame.querySelectorAll("[name=thumb]")];
    [...item.querySelectorAll("[name=thumb]")].forEach((button, k) => {
      mine[k].value = button.value;
      mine[k].setAttribute("aria-pressed", button.getAttribute("aria-pressed"));
    });
  },
};
