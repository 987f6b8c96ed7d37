import { type Blocking, chooseBlocking } from "../../backends/wasm/templates/blocking.ts";
import { MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { assert } from "../support/assert.ts";

/** The multiplications of each unit, in the order in which threads get them. */
function workOfUnits(m: number, n: number, { rows, columns, columnsStay }: Blocking): number[] {
  const sizes = (total: number, size: number) =>
    Array.from({ length: Math.ceil(total / size) }, (_, at) => Math.min(size, total - at * size));
  const [byRows, byColumns] = [sizes(m, rows), sizes(n, columns)];
  return columnsStay
    ? byColumns.flatMap((width) => byRows.map((height) => height * width))
    : byRows.flatMap((height) => byColumns.map((width) => height * width));
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

// Widths of ViT-S and ViT-B, and of their MLPs; an image's tokens, and those of eight images.
for (const m of [196, 197, 1576]) {
  for (
    const [n, k] of [[384, 384], [1536, 384], [384, 1536], [768, 768], [3072, 768], [
      768,
      3072,
    ]] as const
  ) {
    for (const packing of ["none", "copy"] as const) {
      Deno.test(`wasm blocks: ${m}x${n}x${k} (rows: ${packing}) is shared evenly`, () => {
        for (const microkernel of Object.values(MICROKERNELS)) {
          const blocking = chooseBlocking({ batch: 1, m, n, k: [k] }, microkernel, {
            rowPackings: [packing],
            packsColumns: false,
            share: 1,
          });
          const work = workOfUnits(m, n, blocking);
          assert(blocking.kSlices === 1, `${blocking.kSlices} slices of k`);
          for (const threads of [2, 4]) {
            const share = largestShare(work, threads);
            assert(share < 1.1, `${microkernel.rows}x${microkernel.columns}, ${threads}: ${share}`);
          }
        }
      });
    }
  }
}
