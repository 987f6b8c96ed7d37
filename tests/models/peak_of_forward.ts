/**
 * Run by a test, with a batch size: compiles ViT-B/16, loads its weights from a stream, runs it,
 * and prints in JSON the most bytes that the process had resident, its start included, and what the
 * model cannot do without. Needs Linux, which counts afresh for each process.
 */
import {
  compile,
  inferenceGraph,
  streamParameters,
  vit,
  vitVariant,
  wasm,
} from "../../models/inference.ts";
import { parameterCount } from "../../models/variants.ts";
import { constantWeights } from "../support/constant_weights.ts";

const batch = Number(Deno.args[0]);
const config = vitVariant("B/16");
const backend = wasm({ threads: 2 });
using program = await compile(inferenceGraph(vit(config)), { backend, bind: { batch } });
const at = "parameters/";
const shapes = program.inputs.filter(({ path }) => path.startsWith(at))
  .map(({ path, shape }) => [path.slice(at.length), shape] as const);
await streamParameters(program, constantWeights(new Map(shapes), 0.01));
const images = new Float32Array(batch * 3 * 224 * 224).fill(0.5);
const { logits } = await program.run({ images });
if (!logits.data.every(Number.isFinite)) throw new RangeError("The logits are wrong");
const status = await Deno.readTextFile("/proc/self/status");
const peakBytes = 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]);
const weightBytes = 4 * parameterCount(config);
const { lowerBoundBytes } = program.memory();
console.log(JSON.stringify({ peakBytes, weightBytes, lowerBoundBytes }));
