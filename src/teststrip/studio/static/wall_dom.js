// Elements, pictures and numbers, the same in the grid, the flat view and the dialog.
import { root } from "./studio.js";

/** el("b", {className: "n"}, "text", child): text always as text. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SIZES = [96, 192, 384, 768];

/** Address of a thumbnail that is sharp at `side` css px on this screen. */
export function thumb(study, key, side) {
  const wanted = side * Math.min(window.devicePixelRatio || 1, 2);
  const size = SIZES.find((s) => s >= wanted) ?? 768;
  return `${root}/thumbs/${size}/${encodeURIComponent(study)}/${encodeURIComponent(key)}.webp`;
}

export const original = (study, key) =>
  `${root}/images/${encodeURIComponent(study)}/${encodeURIComponent(key)}.png`;

/** An image that is gone says so instead of leaving a hole. */
export function picture(study, key, side, alt) {
  const made = el("img", { className: "pic", width: side, height: side, alt, decoding: "async" });
  made.addEventListener("error", () => made.classList.add("gone"), { once: true });
  made.src = thumb(study, key, side);
  made.dataset.key = key;
  return made;
}

/** Numbers with as many decimals as tell the values of `low` to `high` apart. */
export function formatter(low, high) {
  const span = Math.abs(high - low) || Math.abs(high) || 1;
  const digits = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(span))));
  return (value) => (value === null || value === undefined ? "none" : value.toFixed(digits));
}

/** A number by itself: four digits. */
export function short(value) {
  if (value === null || value === undefined) return "none";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

export const many = (n, one, more = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;
