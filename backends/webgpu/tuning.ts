/** Which tiles matmuls and attention are fastest in, found by running them. */
import { ATTENTION_FORMS, type AttentionForm } from "../../compiler/attention_costs.ts";
import type { Kernel, MatmulKernel } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import { separateBindings } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { emitGpuKernel } from "./emit_kernel.ts";
import {
  type AnyAttention,
  ATTENTION_TILES,
  suitableAttentionTiles,
} from "./templates/attention_division.ts";
import { tilesFor } from "./templates/matmul.ts";
import { TILES } from "./templates/tile.ts";
import { isTileName, type TileName } from "./templates/tile_names.ts";
import type { DispatchTimer } from "./time_dispatches.ts";
import type { Dispatch } from "./wgsl/module.ts";

/** What tuning has found on adapters, by the hashes of kernels. */
export interface TuningStore {
  /** What was found for a kernel, or for attention of some sizes. */
  get(adapter: string, kernel: string): Tuned | undefined;
  /** Keeps what was found. */
  add(adapter: string, found: ReadonlyMap<string, Tuned>): Promise<void>;
}

/** A kernel's tile, or attention's form. */
export type Tuned = TileName | AttentionForm;

/** Whether a text is something that tuning finds. */
export function isTuned(text: string): text is Tuned {
  const forms: readonly string[] = ATTENTION_FORMS;
  return isTileName(text) || forms.includes(text);
}

/** A store that lasts as long as the process. */
export function memoryTuning(): TuningStore {
  const known = new Map<string, Tuned>();
  return {
    get: (adapter, kernel) => known.get(`${adapter} ${kernel}`),
    add: (adapter, found) => {
      for (const [kernel, tile] of found) known.set(`${adapter} ${kernel}`, tile);
      return Promise.resolve();
    },
  };
}

/** Digits of a hash. */
const HASH_DIGITS = 24;

/** Kernels that several tiles are there for. */
type TiledKernel = MatmulKernel | AnyAttention;

function isTiled(kernel: Kernel): kernel is TiledKernel {
  return kernel.kind !== "loops";
}

/**
 * The tiles of a program's matmuls and attention, by the kernels' places: as the store has them, and measured where it
 * has none. A kernel with one suitable tile is not measured, nor one that cannot be.
 */
export async function tuneTiles(
  time: DispatchTimer,
  program: Program,
  capabilities: GpuCapabilities,
  store: TuningStore,
): Promise<ReadonlyMap<number, TileName>> {
  const tiles = new Map<number, TileName>();
  const found = new Map<string, TileName>();
  const { adapter } = capabilities;
  for (const [at, kernel] of program.kernels.entries()) {
    if (!isTiled(kernel)) continue;
    const names = candidatesFor(kernel, capabilities);
    if (names.length < 2) continue;
    const hash = await hashOfKernel(kernel, capabilities);
    const kept = store.get(adapter, hash);
    const known = kept !== undefined && isTileName(kept) ? kept : found.get(hash);
    const tile = known ?? await fastest(time, kernel, capabilities, names);
    if (tile === undefined) continue;
    if (known === undefined) found.set(hash, tile);
    tiles.set(at, tile);
  }
  if (found.size > 0) await store.add(adapter, found);
  return tiles;
}

function candidatesFor(kernel: TiledKernel, device: GpuCapabilities): TileName[] {
  return kernel.kind === "matmul"
    ? tilesFor(kernel, device)
    : suitableAttentionTiles(kernel, device);
}

async function fastest(
  time: DispatchTimer,
  kernel: TiledKernel,
  capabilities: GpuCapabilities,
  names: readonly TileName[],
): Promise<TileName | undefined> {
  const candidates = names.map((name) => emitIn(kernel, capabilities, name));
  const times = await time(separateBindings(kernel).regions.flat(), candidates);
  return times && names[times.indexOf(Math.min(...times))];
}

/** Equal for kernels that compute the same, as long as tiles and what is made of them are the same. */
async function hashOfKernel(kernel: TiledKernel, capabilities: GpuCapabilities): Promise<string> {
  const code = emitIn(kernel, capabilities, undefined).map(({ wgsl }) => wgsl).join();
  return await hashOf(JSON.stringify([TILE_TABLES, code]));
}

/** All tiles: with others, what was found may not hold. */
export const TILE_TABLES = [TILES, ATTENTION_TILES];

/** A name for what a text says. */
export async function hashOf(text: string): Promise<string> {
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)),
  );
  const digits = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.slice(0, HASH_DIGITS);
}

function emitIn(
  kernel: TiledKernel,
  { limits, software, f16, subgroups }: GpuCapabilities,
  tile: TileName | undefined,
): Dispatch[] {
  const layout = separateBindings(kernel);
  const device = { limits, software, f16, subgroups };
  return emitGpuKernel(kernel, { layout, ...device, comment: [], tile });
}
