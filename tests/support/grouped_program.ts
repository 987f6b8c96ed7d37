/** A program written by hand: one step of members of any lengths that share a kernel. */
import type { LoopKernel } from "../../compiler/loop_ir.ts";
import type { Program, ProgramBuffer } from "../../compiler/program.ts";
import {
  accumulator,
  binary,
  constant,
  load,
  loopKernel,
  product,
  reduce,
  store,
  sum,
  variable,
  vectorLoop,
  whole,
} from "./loop_ir.ts";

/** Elements that one parallel iteration of the kernel has. */
export const BLOCK = 32;

/**
 * `y = 2 x + s`, and the sums of blocks of `x`, over `n` elements in `blocks` blocks: reads `x` and the
 * scalar `s`, writes `y` and the sums.
 */
export function sizedKernel(): LoopKernel {
  const start = product(variable("u"), whole(BLOCK));
  const end = binary("min", sum(start, whole(BLOCK)), variable("n"));
  const range = { variable: "c", start, end };
  const x = load(0, variable("c"));
  const y = sum(product(constant(2), x), load(1, whole(0)));
  const kernel = loopKernel("scaled", [], 1, [
    reduce([range], [accumulator("total", "sum", x)]),
    vectorLoop({ ...range, variable: "c" }, [store(2, variable("c"), y)]),
    store(3, variable("u"), variable("total", "f32")),
  ]);
  return {
    ...kernel,
    sizes: ["n", "blocks"],
    parallel: { variable: "u", extent: "blocks" },
    buffers: [
      { name: "x", dtype: "f32", elements: "n", access: "read" },
      { name: "s", dtype: "f32", elements: 1, access: "read" },
      { name: "y", dtype: "f32", elements: "n", access: "write" },
      { name: "sums", dtype: "f32", elements: "blocks", access: "write" },
    ],
  };
}

/** One step of {@linkcode sizedKernel} over members of these lengths: inputs `x0`, ... and `s`. */
export function groupedProgram(lengths: readonly number[]): Program {
  const buffers: ProgramBuffer[] = [];
  let offset = 0;
  const place = (name: string, elements: number): number => {
    buffers.push({ name, dtype: "f32", elements, offset, bytes: 4 * elements });
    offset += Math.ceil(4 * elements / 64) * 64;
    return buffers.length - 1;
  };
  const port = (path: string, buffer: number) => ({
    path,
    dtype: "f32" as const,
    shape: [buffers[buffer]?.elements ?? 0],
    buffer,
  });
  const s = place("s", 1);
  const inputs = [port("s", s)];
  const outputs: typeof inputs = [];
  const members = lengths.map((n, at) => {
    const blocks = Math.ceil(n / BLOCK);
    const [x, y, sums] = [
      place(`x${at}`, n),
      place(`y${at}`, n),
      place(`sums${at}`, blocks),
    ] as const;
    inputs.push(port(`x${at}`, x));
    outputs.push(port(`y${at}`, y), port(`sums${at}`, sums));
    return { buffers: [x, s, y, sums], sizes: [n, blocks] };
  });
  return {
    kernels: [sizedKernel()],
    steps: [{ kernel: 0, members, nodes: [] }],
    buffers,
    inputs,
    outputs,
    constants: [],
    arenaBytes: offset,
    lowerBoundBytes: offset,
    peak: [],
    recomputed: { flops: 0, fraction: 0, regions: [] },
  };
}

/** The numbers of member `at`, of `length` elements. */
export function memberInput(at: number, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 0.7 + at)));
}
