// What was hidden, shown after the vote if the rater wants it.
import { root } from "./studio.js";

const place = document.getElementById("told");
const WORDS = { left: "1", right: "2", tie: "tie" };

function cell(tag, text, scope) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (scope) made.scope = scope;
  return made;
}

function row(tag, texts) {
  const made = document.createElement("tr");
  made.append(...texts.map((text, i) => cell(i && tag === "td" ? "td" : "th", text, i && tag === "td" ? "" : tag === "td" ? "row" : "col")));
  return made;
}

export function showTold(study, vote, lines) {
  const title = document.createElement("h2");
  title.textContent = `The pair before: you chose ${WORDS[vote.choice]}`;
  const table = document.createElement("table");
  const head = document.createElement("thead");
  head.append(row("th", ["What differs", "1", "2"]));
  const body = document.createElement("tbody");
  body.append(...lines.map((line) => row("td", [line.name, line.left, line.right])));
  table.append(head, body);
  const link = document.createElement("a");
  const query = new URLSearchParams([["study", study], ["i", vote.left], ["i", vote.right]]);
  link.href = `${root}/compare?${query}`;
  link.textContent = "Compare the two";
  const last = document.createElement("p");
  last.append(link);
  place.replaceChildren(title, table, last);
  place.hidden = false;
}

export function hideTold() {
  place.hidden = true;
}
