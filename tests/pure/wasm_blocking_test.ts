import {
  type Blocking,
  type BlockingOptions,
  chooseBlocking,
} from "../../backends/wasm/templates/blocking.ts";
import { MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { assert } from "../support/assert.ts";

/** The sizes of the parts of `total`, of which all but the last have `size`. */
function parts(total: number, size: number): number[] {
  const count = Math.ceil(total / size);
  return Array.from({ length: count }, (_, at) => Math.min(size, total - at * size));
}

/** The multiplications of each unit, in the order in which threads get them. */
function workOfUnits([m, n, k]: Extents, blocking: Blocking): number[] {
  const [byRows, byColumns] = [parts(m, blocking.rows), parts(n, blocking.columns)];
  const [block = k] = blocking.k;
  const blocksOfSlice = Math.ceil(Math.ceil(k / block) / blocking.kSlices);
  const units = blocking.columnsStay
    ? byColumns.flatMap((width) => byRows.map((height) => height * width))
    : byRows.flatMap((height) => byColumns.map((width) => height * width));
  return parts(k, block * blocksOfSlice).flatMap((length) => units.map((unit) => length * unit));
}

/** The largest share of a thread in the work, when all get as many units; 1 where all are equal. */
function largestShare(work: readonly number[], threads: number): number {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const bound = (thread: number) => Math.floor(work.length * thread / threads);
  const shares = Array.from(
    { length: threads },
    (_, thread) => sum(work.slice(bound(thread), bound(thread + 1))),
  );
  return Math.max(...shares) * threads / sum(work);
}

type Extents = readonly [m: number, n: number, k: number];

/** Whether two threads and four, with any register tile, share the product evenly. */
function testSharing(
  [m, n, k]: Extents,
  options: Omit<BlockingOptions, "share">,
): void {
  const { rowPackings, packsColumns } = options;
  const panels = packsColumns ? "packed" : "stored";
  Deno.test(`wasm blocks: ${m}x${n}x${k} (${rowPackings}, ${panels}) is shared evenly`, () => {
    for (const tile of Object.values(MICROKERNELS)) {
      const extents = { batch: 1, m, n, k: [k] };
      const work = workOfUnits([m, n, k], chooseBlocking(extents, tile, { ...options, share: 1 }));
      for (const threads of [2, 4]) {
        const share = largestShare(work, threads);
        assert(share < 1.1, `${tile.rows}x${tile.columns}, ${threads} threads: ${share}`);
      }
    }
  });
}

/** Widths of ViT-S and ViT-B, and of their MLPs. */
const LAYERS = [[384, 384], [1536, 384], [384, 1536], [768, 768], [3072, 768], [
  768,
  3072,
]] as const;

for (const m of [196, 197, 1576]) {
  for (const [n, k] of LAYERS) {
    for (const packing of ["none", "copy"] as const) {
      testSharing([m, n, k], { rowPackings: [packing], packsColumns: false });
    }
  }
}

// The gradients of weights, summed over the tokens of eight images.
for (const [m, n] of [[192, 192], [768, 192], [192, 768], ...LAYERS] as const) {
  testSharing([m, n, 1576], { rowPackings: ["transpose"], packsColumns: true });
}
