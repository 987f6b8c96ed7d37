/** What the demo draws in a terminal: a progress line and images in braille dots. */

/** How far a run is, for {@linkcode progressLine}. */
export interface Progress {
  readonly epoch: number;
  readonly epochs: number;
  /** Steps of the whole run. */
  readonly done: number;
  readonly total: number;
  readonly loss: number;
  readonly imagesPerSecond: number;
}

const BAR_WIDTH = 24;

/** Text such as `epoch 2/6 [######------] 35 %  loss 0.0812  5,210 images/s  0:42 left`. */
export function progressLine(progress: Progress & { readonly imagesLeft: number }): string {
  const { epoch, epochs, done, total, loss, imagesPerSecond, imagesLeft } = progress;
  const share = total === 0 ? 1 : done / total;
  const filled = Math.round(share * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const rate = Math.round(imagesPerSecond).toLocaleString("en-US");
  const left = duration(imagesPerSecond > 0 ? imagesLeft / imagesPerSecond : 0);
  return `epoch ${epoch}/${epochs} [${bar}] ${Math.floor(100 * share)} %  ` +
    `loss ${loss.toFixed(4)}  ${rate} images/s  ${left} left`;
}

/** Text such as `1:05`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Bits of the braille pattern's dots, by row and column. */
const DOTS = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BRAILLE = 0x2800;
const INK = 96;

/** A square image of bytes as lines of braille: each character shows two by four pixels. */
export function brailleLines(pixels: Uint8Array, side: number): string[] {
  return Array.from(
    { length: Math.ceil(side / 4) },
    (_, line) =>
      Array.from({ length: Math.ceil(side / 2) }, (_, column) => {
        let pattern = BRAILLE;
        DOTS.forEach((dots, row) =>
          dots.forEach((dot, at) => {
            const [y, x] = [4 * line + row, 2 * column + at];
            if (y < side && x < side && (pixels[y * side + x] ?? 0) >= INK) pattern |= dot;
          })
        );
        return String.fromCodePoint(pattern);
      }).join(""),
  );
}

/** Pictures side by side, each with its text at its right, halfway down. */
export function sideBySide(
  pictures: readonly { readonly lines: readonly string[]; readonly text: string }[],
): string {
  const height = Math.max(0, ...pictures.map(({ lines }) => lines.length));
  return Array.from({ length: height }, (_, row) =>
    pictures.map(({ lines, text }) => {
      const shown = row === Math.floor(height / 2) ? text : "";
      return `${lines[row] ?? ""} ${shown.padEnd(TEXT_WIDTH)}`;
    }).join("").trimEnd()).join("\n");
}

const TEXT_WIDTH = 14;

/** Writes a line that the next one replaces, or in a file now and then a line of its own. */
export class StatusLine {
  readonly #isTerminal = Deno.stdout.isTerminal();
  readonly #encoder = new TextEncoder();
  #lastDecile = -1;

  /** `share` is how far the run is, from 0 to 1. */
  show(text: string, share: number): void {
    if (this.#isTerminal) {
      Deno.stdout.writeSync(this.#encoder.encode(`\r\x1b[2K${text}`));
      return;
    }
    const decile = Math.floor(share * 10);
    if (decile === this.#lastDecile) return;
    this.#lastDecile = decile;
    console.log(text);
  }

  /** Leaves the last line standing. */
  end(): void {
    if (this.#isTerminal) console.log();
  }
}
