// What every page needs: the token for our own requests, notices, and shared helpers.
export const csrf = document.querySelector('meta[name="csrf"]').content;
export const root = document.querySelector('meta[name="root"]').content;

/** fetch JSON from our own server; throws an Error with the server's message. */
export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf, ...options.headers };
  if (options.json !== undefined) {
    options = { ...options, method: options.method ?? "POST", body: JSON.stringify(options.json) };
    headers["Content-Type"] = "application/json";
  }
  const response = await fetch(root + path, { ...options, headers });
  const body = response.status === 204 ? null : await response.json();
  if (!response.ok) {
    const fault = new Error(body?.error ?? `the server answered ${response.status}`);
    throw Object.assign(fault, { status: response.status });
  }
  return body;
}

/** A line at the bottom of the page, read out by screen readers; it goes after a while. */
export function notice(text, isFault = false) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.classList.toggle("fault", isFault);
  place.classList.add("shown");
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => place.classList.remove("shown"), isFault ? 8000 : 3000);
}

/** Copy text; says so. */
export async function copy(text) {
  await navigator.clipboard.writeText(text);
  notice("copied");
}

/** Is the person typing? Then single keys are text, not commands. */
export function isTyping(event) {
  const t = event.target;
  return t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName);
}

document.addEventListener("htmx:responseError", (event) => {
  let text = `the server answered ${event.detail.xhr.status}`;
  try { text = JSON.parse(event.detail.xhr.responseText).error ?? text; } catch { /* a page */ }
  notice(text, true);
});
document.addEventListener("htmx:sendError", () => notice("the server does not answer", true));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(document.getElementById(button.dataset.copy)?.textContent ?? "");
});
