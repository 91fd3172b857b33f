// Pairs whose images are fetched and decoded before they are asked for.
import { root } from "./studio.js";

/** One <img> for a side, decoded; rejects where the image is gone (a fault comes as a picture). */
async function picture(study, key) {
  const response = await fetch(`${root}/images/${encodeURIComponent(study)}/${key}.png`);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const address = URL.createObjectURL(await response.blob());
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.src = address;
  try {
    await image.decode();
  } finally {
    URL.revokeObjectURL(address);
  }
  return image;
}

export class Queue {
  /** `gone(pair)`: called for a pair that cannot be shown; `loaded()`: when one can be. */
  constructor(study, gone, loaded) {
    this.study = study;
    this.gone = gone;
    this.loaded = loaded;
    this.waiting = [];
    this.current = null; // the one that was taken: on the screen, or about to be
  }

  get length() { return this.waiting.length; }

  /** How many of those that wait could be shown at once. */
  get decoded() { return this.waiting.filter((one) => one.isDecoded).length; }

  /** Image keys of the pairs in this page, for the server to leave out. */
  get held() {
    const here = this.current ? [this.current, ...this.waiting] : this.waiting;
    return here.map(({ pair }) => [pair.left, pair.right]);
  }

  /** Start loading pairs; they are taken in this order. */
  add(pairs, first = false) {
    const made = pairs.map((pair) => {
      const ready = Promise.all([picture(this.study, pair.left), picture(this.study, pair.right)]);
      const one = { pair, ready, isDecoded: false };
      ready.then(
        () => {
          performance.mark(`rate:decoded:${pair.id}`);
          one.isDecoded = true;
          this.loaded();
        },
        () => {},
      );
      return one;
    });
    this.waiting = first ? [...made, ...this.waiting] : [...this.waiting, ...made];
  }

  /** Put a pair that was shown back in front, decoded as it is. */
  putBack(shown) { this.waiting.unshift(shown); }

  /** The next pair with its two images, or null where none waits. */
  async take() {
    while (this.waiting.length) {
      const next = this.waiting.shift();
      this.current = next;
      try {
        next.images = await next.ready;
        return next;
      } catch {
        this.gone(next.pair);
      }
    }
    this.current = null;
    return null;
  }
}
