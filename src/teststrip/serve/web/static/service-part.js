// Parts of the page from our own server, and the line that tells news.
const csrf = document.querySelector('meta[name="csrf"]').content;

/**
 * A part of the page as an element; null where `answer.tag` is still right. `answer.many`: all its
 * elements. Throws an Error with the server's words (`faults`, `status`).
 */
export async function part(path, options = {}, answer = {}) {
  const headers = { Accept: "text/html", "X-Part": "1", "X-CSRF-Token": csrf };
  if (answer.tag) headers["If-None-Match"] = answer.tag;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Error("The service does not answer; trying again");
  }
  if (response.status === 304) return null;
  if (response.status === 401) location.reload();
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    const fault = new Error(told.detail || `The service answered ${response.status}`);
    throw Object.assign(fault, { status: response.status, faults: told.faults });
  }
  answer.tag = response.headers.get("etag") ?? "";
  const made = new DOMParser().parseFromString(await response.text(), "text/html").body.children;
  return answer.many ? [...made] : made[0];
}

/** A line at the bottom of the page, read out by screen readers; it goes after a while. */
export function notice(text, isFault = false) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.classList.toggle("fault", isFault);
  place.classList.toggle("shown", Boolean(text));
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => place.classList.remove("shown"), isFault ? 8000 : 3000);
}
