// The form is the state of the wall: its fields have the names of the address.
import { el } from "./wall_dom.js";

export const form = document.getElementById("wall");

/** What the form says, as an address; empty fields are left out. */
export function address() {
  const pairs = [...new FormData(form)].filter(([, value]) => value !== "");
  return new URLSearchParams(pairs).toString();
}

const changed = () => form.dispatchEvent(new Event("change", { bubbles: true }));

/** Columns become rows. */
export function swap() {
  for (const [a, b] of [["x", "y"], ["x2", "y2"]]) {
    const [one, two] = [form.elements[a], form.elements[b]];
    [one.value, two.value] = [two.value, one.value];
    one.dataset.was = one.value;
    two.dataset.was = two.value;
  }
  changed();
}

/** An axis that takes another's field gives that one its own. */
export function settle(select) {
  for (const other of form.querySelectorAll("select[data-axis]")) {
    if (other !== select && other.value !== "none" && other.value === select.value) {
      other.value = select.dataset.was ?? "none";
      other.dataset.was = other.value;
    }
  }
  select.dataset.was = select.value;
}

export function toggleShow() {
  const next = form.elements.show.value === "images" ? "mean" : "images";
  form.elements.show.value = next;
  changed();
}

/** Names of the address that no control shows are kept in hidden fields. */
export function add(name, value) {
  document.getElementById("extra").append(el("input", { type: "hidden", name, value }));
  changed();
}

/** Empty the controls of `names`; with a value only that one. */
export function drop(names, value) {
  for (const control of form.querySelectorAll("input, select")) {
    if (!names.includes(control.name) || (value !== undefined && control.value !== value)) continue;
    if (control.type === "hidden") control.remove();
    else if (control.type === "checkbox") control.checked = false;
    else if (control.name === "status") control.value = "all";
    else control.value = "";
  }
  changed();
}

for (const select of form?.querySelectorAll("select[data-axis]") ?? []) {
  select.dataset.was = select.value;
}
