/** Runs a program piece by piece, as WebGPU's limits cut it, with the loop IR interpreter. */
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import { type BufferData, readElement, writeElement } from "../../backends/reference/storage.ts";
import { hostData } from "../../backends/host_array.ts";
import { boundBuffers } from "../../backends/webgpu/bindings.ts";
import type { GpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { placeProgram } from "../../backends/webgpu/pieces/place_program.ts";
import type { Piece } from "../../backends/webgpu/pieces/placement.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import { withWorkspaces } from "../../backends/webgpu/workspace.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program, ProgramPort } from "../../compiler/program.ts";
import { bytesPerElement, type DType } from "../../graph/dtype.ts";
import { assert } from "./assert.ts";
import type { RunnableGraph } from "./run_graph.ts";

/** The pieces of all steps, in order, and the memory that they are in. */
export function piecesOf(
  program: Program,
  capabilities: GpuCapabilities,
): { readonly pieces: readonly Piece[]; readonly arenaBytes: number } {
  const { steps, arenaBytes } = placeProgram(program, capabilities);
  return { pieces: steps.flat().flatMap(([, pieces]) => pieces), arenaBytes };
}

/** Runs a graph once; kernels see of their buffers nothing but what is bound. */
export function runInPieces(
  graph: RunnableGraph,
  capabilities: GpuCapabilities,
): Map<string, Float64Array> {
  const target = gpuTarget(capabilities);
  const lowered = lowerGraph(graph, { bind: graph.bindings ?? {}, target });
  const program = withWorkspaces(lowered, target);
  const { pieces, arenaBytes } = piecesOf(program, capabilities);
  // What nothing has written must not happen to look right.
  const memory = new Uint8Array(arenaBytes).fill(0x7f);
  for (const { buffer, data } of program.constants) {
    const bytes = data instanceof Uint8Array ? Uint32Array.from(data) : data;
    const at = program.buffers[buffer]?.offset ?? 0;
    memory.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
  }
  for (const port of program.inputs) {
    const values = graph.values.get(port.path)?.data ?? [];
    const { data, offset } = portData(program, port);
    for (let at = 0; at < values.length; at++) {
      writeElement(data, port.dtype, at, values[at] ?? NaN);
    }
    memory.set(new Uint8Array(data.buffer), offset);
  }
  for (const piece of pieces) runPiece(piece, memory);
  return new Map(program.outputs.map((port) => {
    const { data, offset, bytes } = portData(program, port);
    new Uint8Array(data.buffer).set(memory.subarray(offset, offset + bytes));
    return [port.path, Float64Array.from(data, (_, at) => readElement(data, port.dtype, at))];
  }));
}

/** Elements as they lie in the arena: a bool is a word. */
function elements(dtype: DType, count: number): BufferData {
  return dtype === "bool" ? new Uint32Array(count) : hostData(dtype, count);
}

function portData({ buffers }: Program, { buffer, dtype }: ProgramPort) {
  const { offset, elements: count } = buffers[buffer] ?? { offset: 0, elements: 0 };
  const data = elements(dtype, count);
  return { data, offset, bytes: data.byteLength };
}

function runPiece({ kernel, layout, ranges }: Piece, memory: Uint8Array): void {
  const starts: number[] = [];
  let binding = 0;
  for (const parts of layout.regions) {
    starts.push(ranges[binding]?.offset ?? NaN);
    binding += parts.length;
  }
  const sizes = layout.regions.map((parts) => parts.reduce((sum, bytes) => sum + bytes, 0));
  const seen = boundBuffers(kernel.buffers).map(({ dtype, elements: count }, at) => {
    const data = elements(dtype, count);
    const bytes = new Uint8Array(data.buffer).fill(0x7f);
    const place = layout.places[at];
    if (place === undefined) {
      return { data, bytes, before: bytes.slice(), from: 0, until: 0, at: NaN };
    }
    const from = Math.max(0, -place.offset);
    const until = Math.min(
      count * bytesPerElement(dtype),
      (sizes[place.region] ?? 0) - place.offset,
    );
    const start = (starts[place.region] ?? NaN) + place.offset + from;
    bytes.subarray(from, until).set(memory.subarray(start, start + Math.max(0, until - from)));
    return { data, bytes, before: bytes.slice(), from, until, at: start - from };
  });
  const given = seen.map(({ data }) => data);
  interpretKernel(kernel, given);
  // What it has not changed may be another's: regions are shared.
  for (const { bytes, before, from, until, at } of seen) {
    bytes.forEach((byte, index) => {
      if (byte === before[index]) return;
      assert(from <= index && index < until, `${kernel.name} stores where it binds nothing`);
      memory[index + at] = byte;
    });
  }
}
