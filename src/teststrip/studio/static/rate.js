// Blind pairs: two images, one key. The next pair is there before the key is pressed.
import { ask, isTyping, notice } from "./studio.js";
import { Outbox } from "./rate-outbox.js";
import { Queue } from "./rate-queue.js";
import { showRanking, toggleRanking } from "./rate-ranking.js";
import { hideTold, showTold } from "./rate-told.js";

const AHEAD = 4; // pairs in this page: one is looked at, the others are decoded
const KEYS = { 1: "left", 2: "right", t: "tie", 0: "tie", s: "skip" };
const EMPTY = {
  wait: "The next pair is on its way.",
  end: "You have seen every pair there is. More recipes can be chosen below.",
  fault: "The next pair cannot be fetched now. Load the page again in a while.",
};
const place = document.getElementById("rate");
const { study, rater } = place.dataset;
const among = Number(place.dataset.among);
const sides = [...place.querySelectorAll(".side")];
const pause = document.getElementById("pause");
const tell = document.getElementById("tell");
const gone = [];
let progress = JSON.parse(place.dataset.progress);
let shown = null; // the pair on the screen, with its images
let busy = true;

const queue = new Queue(study, (pair) => {
  gone.push([pair.left, pair.right]);
  notice("an image of a pair is gone; the pair was left out", true);
}, () => inHand());
const outbox = new Outbox(study, rater, wanted, (reply, vote) => {
  queue.add(reply.next);
  sync(reply);
  if (reply.told) showTold(study, vote, reply.told);
  if (!shown && !busy) advance();
});

/** What the server is asked for with each vote. */
function wanted() {
  const { held } = queue;
  return {
    held: [...held, ...gone].slice(-50), ahead: Math.max(0, AHEAD - held.length), among,
    tell: tell.checked,
  };
}

function sync(reply) {
  if (outbox.left.length === 0) {
    progress = reply.progress;
    tally();
  }
  stand(reply);
  showRanking(study);
}

/** Where the votes are; looked at again until all of them are in MLflow. */
function stand(reply) {
  document.getElementById("standing").textContent = reply.standing;
  clearTimeout(stand.timer);
  if (reply.waiting === 0) return;
  stand.timer = setTimeout(async () => {
    try {
      stand(await ask("/rate/pairs", { json: { study, held: [], ahead: 0, among } }));
    } catch { /* the next vote will tell */ }
  }, 8000);
}

/** What the page has in hand: pairs that are decoded, votes that have not arrived. */
function inHand() {
  place.dataset.ready = queue.decoded;
  place.dataset.unsent = outbox.left.length;
}

function tally() {
  inHand();
  const rest = progress.round - progress.in_round;
  document.getElementById("bar").value = progress.in_round;
  document.getElementById("count").textContent =
    `${rest} more ${rest === 1 ? "pair" : "pairs"} in this round, ${progress.done} done in all`;
  document.getElementById("undo").disabled = progress.last === null;
}

/** Show the next pair: its images are decoded already, unless keys come faster than the network. */
async function advance(pressed) {
  busy = true;
  place.classList.toggle("waiting", queue.length === 0);
  const next = await queue.take();
  const more = next || outbox.left.length ? "wait" : await refill();
  if (more === "new") return advance(pressed);
  shown = next;
  place.classList.remove("waiting");
  place.classList.toggle("ended", more !== "wait");
  document.getElementById("prompt").textContent = shown ? shown.pair.prompt : EMPTY[more];
  sides.forEach((side, i) => {
    side.disabled = !shown;
    side.firstElementChild.replaceChildren(...(shown ? [shown.images[i]] : []));
  });
  place.dataset.shown = shown ? shown.pair.id : "";
  busy = false;
  if (pressed !== undefined) {
    requestAnimationFrame(() => setTimeout(() => performance.measure("rate:next", { start: pressed })));
  }
  return undefined;
}

/** Where pairs ran out without a vote on its way: are there `new` ones? */
async function refill() {
  try {
    const { held, ahead } = wanted();
    const reply = await ask("/rate/pairs", { json: { study, held, ahead, among } });
    queue.add(reply.next);
    return reply.next.length ? "new" : "end";
  } catch (fault) {
    notice(fault.message, true);
    return "fault";
  }
}

function choose(choice) {
  if (busy || !shown || !pause.hidden) return;
  const pressed = performance.now();
  const { id, left, right } = shown.pair;
  if (choice !== "skip") {
    progress = { ...progress, done: progress.done + 1, in_round: (progress.in_round + 1) % progress.round };
  }
  progress.last = id;
  shown = null;
  hideTold();
  const turn = advance(pressed);
  outbox.post({ study, id, left, right, choice });
  tally();
  if (choice !== "skip" && progress.in_round === 0) turn.then(rest);
}

function rest() {
  document.getElementById("pause-title").textContent = `${progress.done} pairs done`;
  document.getElementById("pause-text").textContent =
    `That was a round of ${progress.round}. Each vote is stored; you can stop here and go on another day.`;
  pause.hidden = false;
  place.classList.add("paused");
  document.getElementById("more").focus();
}

function goOn() {
  pause.hidden = true;
  place.classList.remove("paused");
}

/** Take the last vote back and show its pair again. */
async function undo() {
  if (busy) return;
  busy = true;
  try {
    await outbox.flush();
    if (progress.last === null) {
      notice("there is nothing to undo");
      return;
    }
    const reply = await ask("/rate/undo", { json: { study, id: progress.last } });
    goOn();
    hideTold();
    progress = reply.progress;
    if (reply.pair) {
      if (shown) queue.putBack(shown);
      queue.add([reply.pair], true);
      shown = null;
      await advance();
    }
    tally();
    sync(reply);
    notice("taken back");
  } catch (fault) {
    notice(fault.message, true);
  } finally {
    busy = false;
  }
}

document.addEventListener("keydown", (event) => {
  const typing = isTyping(event) && event.target.type !== "checkbox";
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (KEYS[key]) choose(KEYS[key]);
  else if (key === "u") undo();
  else return;
  event.preventDefault();
});
place.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-choice]");
  if (button) choose(button.dataset.choice);
});
document.getElementById("undo").addEventListener("click", undo);
document.getElementById("more").addEventListener("click", goOn);
document.getElementById("pause-ranking").addEventListener("click", () => toggleRanking(study, true));
document.getElementById("toggle").addEventListener("click", () => toggleRanking(study));
document.getElementById("among").addEventListener("change", (event) => event.target.form.submit());
tell.addEventListener("change", () => {
  sessionStorage.setItem("teststrip:tell", tell.checked ? "1" : "");
  hideTold();
});

tell.checked = sessionStorage.getItem("teststrip:tell") === "1";
queue.add(JSON.parse(place.dataset.pairs));
tally();
stand({ standing: document.getElementById("standing").textContent, waiting: Number(place.dataset.waiting) });
advance();
outbox.flush(); // what a page that was closed had left
