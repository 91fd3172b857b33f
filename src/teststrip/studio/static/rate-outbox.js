// Votes on their way to the server: kept in this browser until the server has them, in order.
import { ask, notice, root } from "./studio.js";

const PATIENCE = [500, 1000, 2000, 4000, 8000];

export class Outbox {
  /** `extra()`: what is only known when a vote is sent; `done(reply, vote)`: after it arrived. */
  constructor(study, rater, extra, done) {
    this.key = `teststrip:votes:${root}:${study}:${rater}`;
    this.extra = extra;
    this.done = done;
    this.left = this.kept();
    this.sending = null;
    this.tries = 0;
  }

  kept() {
    try { return JSON.parse(localStorage.getItem(this.key)) ?? []; } catch { return []; }
  }

  keep() {
    try {
      if (this.left.length) localStorage.setItem(this.key, JSON.stringify(this.left));
      else localStorage.removeItem(this.key);
    } catch { /* no room: they are still in memory */ }
  }

  /** Send a vote, after those before it. */
  post(vote) {
    this.left.push(vote);
    this.keep();
    return this.flush();
  }

  /** Resolves when nothing is left. */
  flush() {
    this.sending ??= this.send().finally(() => { this.sending = null; });
    return this.sending;
  }

  async send() {
    while (this.left.length) {
      const vote = this.left[0];
      try {
        const reply = await ask("/rate/vote", { json: { ...vote, ...this.extra() } });
        this.drop();
        this.done(reply, vote);
      } catch (fault) {
        if (fault.status >= 400 && fault.status < 500) {
          this.drop();
          notice(fault.message, true);
        } else {
          const wait = PATIENCE[Math.min(this.tries, PATIENCE.length - 1)];
          this.tries += 1;
          notice(`${this.left.length} kept in this browser, sent again soon: ${fault.message}`, true);
          await new Promise((resume) => setTimeout(resume, wait));
        }
      }
    }
  }

  drop() {
    this.tries = 0;
    this.left.shift();
    this.keep();
  }
}
