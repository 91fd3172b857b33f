// The difference of two originals, pixel by pixel: the largest of the three channels' distances.
// Colours darken all the way from paper to black, so that they also read in black and white.
const STOPS = [[252, 251, 249], [247, 218, 184], [237, 155, 108], [200, 67, 43], [122, 18, 32], [26, 8, 14]];
export const COLOURS = Array.from({ length: 256 }, (_, level) => {
  const place = (level / 255) * (STOPS.length - 1), k = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[k].map((from, c) => Math.round(from + (STOPS[k + 1][c] - from) * (place - k)));
});

/** Two RGBA arrays of one length -> level 0 to 255 of each pixel, and how often each level is. */
export function levels(a, b) {
  const map = new Uint8Array(a.length / 4), counts = new Uint32Array(256);
  for (let p = 0, k = 0; p < map.length; p++, k += 4) {
    const red = Math.abs(a[k] - b[k]), green = Math.abs(a[k + 1] - b[k + 1]), blue = Math.abs(a[k + 2] - b[k + 2]);
    map[p] = red > green ? (red > blue ? red : blue) : green > blue ? green : blue;
    counts[map[p]]++;
  }
  return { map, counts };
}

/** Of counts by level: share of pixels above `above`, largest and mean level. */
export function numbers(counts, above) {
  let all = 0, differ = 0, largest = 0, sum = 0;
  counts.forEach((count, level) => {
    all += count;
    sum += count * level;
    if (level > above) differ += count;
    if (count) largest = level;
  });
  return { all, differ, share: differ / all, largest, mean: sum / all };
}

function pixels(img, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(img, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

const get = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

export class Heat {
  constructor(view) {
    this.view = view;
    this.canvas = get("heat");
    this.frame = this.canvas.closest(".frame");
    this.found = null;
    get("stretch").addEventListener("change", () => this.#draw());
    get("above").addEventListener("input", () => this.#draw());
    const legend = get("legend").getContext("2d");
    COLOURS.forEach(([r, g, b], level) => {
      legend.fillStyle = `rgb(${r} ${g} ${b})`;
      legend.fillRect(level, 0, 1, 1);
    });
  }

  /** Work it out anew for the pair that is shown; says so where an image is missing. */
  async work() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const [a, b] = this.view.pair();
    try {
      await Promise.all([a, b].map((pane) => pane.img.decode()));
      if ([a, b].some((pane) => pane.frame.classList.contains("gone"))) throw new Error("gone");
    } catch {
      if (turn === this.turn) this.#fail("One of the two originals cannot be read, so there is no difference to show.");
      return;
    }
    if (turn !== this.turn) return; // another step was faster
    const { naturalWidth: width, naturalHeight: height } = a.img;
    this.scaled = b.img.naturalWidth !== width || b.img.naturalHeight !== height;
    this.size = [width, height];
    this.found = levels(pixels(a.img, width, height), pixels(b.img, width, height));
    this.names = `${a.letter} and ${b.letter}`;
    this.frame.classList.remove("gone");
    this.#draw();
  }

  #fail(text) {
    this.found = null;
    this.frame.classList.add("gone");
    get("heat-fault").textContent = text;
    for (const id of ["share", "largest", "mean"]) get(id).textContent = "–";
    this.canvas.setAttribute("aria-label", text);
  }

  #draw() {
    const above = Number(get("above").value);
    get("above-told").textContent = String(above);
    if (!this.found) return;
    const { map, counts } = this.found, [width, height] = this.size;
    const { all, differ, share, largest, mean } = numbers(counts, above);
    const end = get("stretch").checked && largest ? largest : 255;
    const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
    const colour = COLOURS.map((_, level) => {
      const [r, g, b] = COLOURS[level > above ? Math.min(Math.round((level * 255) / end), 255) : 0];
      return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    for (let p = 0; p < map.length; p++) out[p] = colour[map[p]];
    Object.assign(this.canvas, { width, height });
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    get("share").textContent = share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
    get("largest").textContent = `${largest} of 255`;
    get("mean").textContent = `${mean.toFixed(1)} of 255`;
    get("legend-middle").textContent = String(Math.round(end / 2));
    get("legend-end").textContent = String(end);
    get("heat-note").textContent = `${whole.format(differ)} of ${whole.format(all)} pixels; of each, the channel that differs most.${this.scaled ? " The second image has another size and was scaled to the first." : ""}`;
    this.canvas.setAttribute("aria-label", `Difference of ${this.names}: ${get("share").textContent} of the pixels differ, largest ${largest}, mean ${mean.toFixed(1)} of 255`);
  }
}
