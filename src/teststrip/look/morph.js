// Make a part of the page equal to fresh HTML from our own server, touching only what differs:
// pictures do not load again, an open <details> stays open, the focus stays where it is.

/** `from`: an element of this page; `to`: what it shall be. `added` is called with new elements. */
export function morph(from, to, added = () => {}) {
  attributes(from, to);
  const known = new Map();
  for (const child of from.children) if (child.id) known.set(child.id, child);
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const mine = wanted.id ? known.get(wanted.id) : at;
    if (!mine || !alike(mine, wanted)) {
      const fresh = document.importNode(wanted, true);
      from.insertBefore(fresh, at);
      if (fresh.nodeType === Node.ELEMENT_NODE) added(fresh);
      continue;
    }
    if (mine === at) at = at.nextSibling;
    else from.insertBefore(mine, at);
    if (mine.nodeType === Node.ELEMENT_NODE) morph(mine, wanted, added);
    else if (mine.data !== wanted.data) mine.data = wanted.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");
}

function attributes(from, to) {
  const kept = from.nodeName === "DETAILS" ? "open" : "";
  for (const { name, value } of [...to.attributes]) {
    if (name !== kept && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (name !== kept && !to.hasAttribute(name)) from.removeAttribute(name);
  }
}
