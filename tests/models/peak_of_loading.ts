/**
 * Run by a test: loads weights of 64 MiB into a program from a stream, and prints by how many bytes the
 * process's resident memory grew at most meanwhile.
 */
import { compile, wasm } from "../../backends/mod.ts";
import { spec, sum, trace } from "../../graph/mod.ts";
import { PREFIX_BYTES } from "../../models/safetensors_header.ts";
import { streamParameters } from "../../models/weights_stream.ts";

const TENSORS = 16;
const SIDE = 1024;
const BYTES = 4 * SIDE * SIDE;

const names = Array.from({ length: TENSORS }, (_, index) => `w${index}`);
const parameters = Object.fromEntries(names.map((name) => [name, spec("f32", [SIDE, SIDE])]));
const graph = trace({ parameters }, ({ parameters }) => ({
  sums: Object.values(parameters).map((weight) => sum(weight)),
}));

function* file(): Generator<Uint8Array> {
  const entries = names.map((name, index) => [name, {
    dtype: "F32",
    shape: [SIDE, SIDE],
    data_offsets: [index * BYTES, (index + 1) * BYTES],
  }]);
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const prefix = new Uint8Array(PREFIX_BYTES);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
  yield prefix;
  yield header;
  const ones = new Uint8Array(new Float32Array(2 ** 14).fill(1).buffer);
  for (let left = TENSORS * BYTES; left > 0; left -= ones.length) {
    yield ones;
    notePeak();
  }
}

/** Looked at between chunks: a process's own record of its peak begins with that of its parent. */
let peakBytes = 0;

function notePeak(): void {
  peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
}

using program = await compile(graph, { backend: wasm({ threads: 1 }) });
const before = Deno.memoryUsage().rss;
await streamParameters(program, file());
notePeak();
const { sums } = await program.run();
if (sums.some(({ data }) => data[0] !== SIDE * SIDE)) throw new RangeError("The sums are wrong");
console.log(peakBytes - before);
