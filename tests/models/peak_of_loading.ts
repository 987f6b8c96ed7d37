/**
 * Run by a test: loads weights of 64 MiB into a program from a stream, and prints by how many bytes the
 * process's resident memory grew at most meanwhile.
 */
import { compile, wasm } from "../../backends/mod.ts";
import { spec, sum, trace } from "../../graph/mod.ts";
import { streamParameters } from "../../models/weights_stream.ts";
import { constantWeights } from "../support/constant_weights.ts";

const TENSORS = 16;
const SIDE = 1024;

const names = Array.from({ length: TENSORS }, (_, index) => `w${index}`);
const parameters = Object.fromEntries(names.map((name) => [name, spec("f32", [SIDE, SIDE])]));
const graph = trace({ parameters }, ({ parameters }) => ({
  sums: Object.values(parameters).map((weight) => sum(weight)),
}));

/** Looked at between chunks: a process's own record of its peak begins with that of its parent. */
let peakBytes = 0;

function notePeak(): void {
  peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
}

function* watched(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  for (const chunk of chunks) {
    yield chunk;
    notePeak();
  }
}

using program = await compile(graph, { backend: wasm({ threads: 1 }) });
const before = Deno.memoryUsage().rss;
const shapes = new Map(names.map((name) => [name, [SIDE, SIDE]]));
await streamParameters(program, watched(constantWeights(shapes, 1)));
notePeak();
const { sums } = await program.run();
if (sums.some(({ data }) => data[0] !== SIDE * SIDE)) throw new RangeError("The sums are wrong");
console.log(peakBytes - before);
