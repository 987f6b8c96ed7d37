/** Which tiles matmuls are fastest in, found by running them. */
import type { MatmulKernel } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import { separateBindings } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { GpuDevice } from "./device.ts";
import { emitMatmul, tilesFor } from "./templates/matmul.ts";
import { type TileName, TILES } from "./templates/tile.ts";
import { timePasses } from "./time_passes.ts";
import type { Dispatch } from "./wgsl/module.ts";

/** What tuning has found on adapters, by the hashes of kernels. */
export interface TuningStore {
  /** The tile that was found for a kernel. */
  get(adapter: string, kernel: string): TileName | undefined;
  /** Keeps what was found. */
  add(adapter: string, found: ReadonlyMap<string, TileName>): Promise<void>;
}

/** A store that lasts as long as the process. */
export function memoryTuning(): TuningStore {
  const known = new Map<string, TileName>();
  return {
    get: (adapter, kernel) => known.get(`${adapter} ${kernel}`),
    add: (adapter, found) => {
      for (const [kernel, tile] of found) known.set(`${adapter} ${kernel}`, tile);
      return Promise.resolve();
    },
  };
}

/** Whether a text names a tile. */
export function isTileName(text: string): text is TileName {
  return Object.hasOwn(TILES, text);
}

/** Measurements of each tile; the first counts as warming up. */
const ROUNDS = 4;
/** Digits of a hash. */
const HASH_DIGITS = 24;

/**
 * The tiles of a program's matmuls, by the kernels' places: as the store has them, and measured where it
 * has none. A kernel with one suitable tile is not measured, nor any on a device without timestamps,
 * nor one whose buffers the device cannot hold a second time.
 */
export async function tuneTiles(
  gpu: GpuDevice,
  program: Program,
  capabilities: GpuCapabilities,
  store: TuningStore,
): Promise<ReadonlyMap<number, TileName>> {
  const tiles = new Map<number, TileName>();
  const found = new Map<string, TileName>();
  const { adapter } = capabilities;
  for (const [at, kernel] of program.kernels.entries()) {
    if (kernel.kind !== "matmul") continue;
    const names = tilesFor(kernel, capabilities);
    if (names.length < 2) continue;
    const hash = await hashOf(kernel, capabilities);
    const known = store.get(adapter, hash) ?? found.get(hash);
    const tile = known ?? await fastest(gpu, kernel, capabilities, names);
    if (tile === undefined) continue;
    if (known === undefined) found.set(hash, tile);
    tiles.set(at, tile);
  }
  if (found.size > 0) await store.add(adapter, found);
  return tiles;
}

/** Equal for kernels that compute the same, as long as tiles and what is made of them are the same. */
async function hashOf(kernel: MatmulKernel, capabilities: GpuCapabilities): Promise<string> {
  const code = emitIn(kernel, capabilities, undefined).map(({ wgsl }) => wgsl).join();
  const bytes = new TextEncoder().encode(JSON.stringify(TILES) + code);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const digits = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.slice(0, HASH_DIGITS);
}

function emitIn(
  kernel: MatmulKernel,
  { limits, software, f16, subgroups }: GpuCapabilities,
  tile: TileName | undefined,
): Dispatch[] {
  const layout = separateBindings(kernel);
  const device = { limits, software, f16, subgroups };
  const options = { layout, ...device, comment: [], tile: tile && TILES[tile] };
  return emitMatmul(kernel, options);
}

async function fastest(
  gpu: GpuDevice,
  kernel: MatmulKernel,
  capabilities: GpuCapabilities,
  names: readonly TileName[],
): Promise<TileName | undefined> {
  const bindings = separateBindings(kernel).regions.flat();
  const { limits, alignment, timestamps } = capabilities;
  const places = placesOf(bindings, alignment);
  const fits = bindings.length <= limits.maxStorageBuffersPerShaderStage &&
    places.end <= limits.maxBufferSize &&
    bindings.every((bytes) => bytes <= limits.maxStorageBufferBindingSize);
  if (!timestamps || !fits) return undefined;
  const { device } = gpu;
  device.pushErrorScope("out-of-memory");
  const buffer = device.createBuffer({ size: places.end, usage: GPUBufferUsage.STORAGE });
  try {
    if (await device.popErrorScope() !== null) return undefined;
    const times = await timesOf(
      gpu,
      buffer,
      places.starts,
      bindings,
      names.map((name) => {
        const [dispatch] = emitIn(kernel, capabilities, name);
        if (dispatch === undefined) throw new RangeError(`Kernel ${kernel.name} has no results`);
        return dispatch;
      }),
    );
    return names[times.indexOf(Math.min(...times))];
  } finally {
    buffer.destroy();
  }
}

function placesOf(bindings: readonly number[], alignment: number) {
  let end = 0;
  const starts = bindings.map((bytes) => {
    const start = end;
    end += Math.ceil(bytes / alignment) * alignment;
    return start;
  });
  return { starts, end };
}

/** The least time of each dispatch, in nanoseconds: all in turn, several times. */
async function timesOf(
  { device, pipelines }: GpuDevice,
  buffer: GPUBuffer,
  starts: readonly number[],
  bindings: readonly number[],
  dispatches: readonly Dispatch[],
): Promise<number[]> {
  const kernel = { kernel: "tuning", step: 0 };
  const modules = dispatches.map(({ wgsl }) => ({ ...kernel, wgsl, code: wgsl, bindings }));
  const ready = await pipelines.acquire(modules, ({ wgsl }) => ({ ...kernel, wgsl, nodes: [] }));
  try {
    const group = device.createBindGroup({
      layout: pipelines.groupLayout(bindings),
      entries: bindings.map((size, binding) => ({
        binding,
        resource: { buffer, offset: starts[binding] ?? 0, size },
      })),
    });
    const times = await timePasses(device, ROUNDS * ready.length, (pass, run) => {
      const [pipeline, dispatch] = [ready[run % ready.length], dispatches[run % ready.length]];
      if (pipeline === undefined || dispatch === undefined) throw new RangeError(`No tile ${run}`);
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...dispatch.grid);
    });
    return dispatches.map((_, at) =>
      Math.min(...times.filter((_, run) => run >= ready.length && run % ready.length === at))
    );
  } finally {
    pipelines.release(modules);
  }
}
