/**
 * Which register tile is fastest here: a short measurement, once a process. Engines differ by more than
 * a factor of two, in either direction, and say nowhere what they do: with explicit bounds checks few
 * loads win, with 256-bit registers wide tiles do, and without those wide tiles spill to memory.
 */
import { ModuleBuilder } from "./encoder.ts";
import { emitMicrokernel, type MicrokernelName, MICROKERNELS } from "./templates/microkernel.ts";
import { defaultMicrokernel } from "./templates/template.ts";

/** The register tile that products are computed in, and how it came to be chosen. */
export interface MicrokernelChoice {
  readonly name: MicrokernelName;
  /** Measured GFLOP/s of each tile that was tried; undefined where the user named one. */
  readonly rates?: Readonly<Record<string, number>>;
}

/** Runs a tile once; the engine may replace its code between calls. */
interface Candidate {
  readonly name: MicrokernelName;
  readonly run: () => void;
  /** Floating point operations of a run. */
  readonly flops: number;
  /** In its first code. */
  firstRate: number;
  bestRate: number;
}

const K = 256;
const PAGE_BYTES = 65536;
/** Enough for the slowest code that an engine starts with to be noticed as worth replacing. */
const WARM_UP_MILLISECONDS = 1.5;
const SLICE_MILLISECONDS = 0.25;
/** Rounds without news after which a rate is taken to be final. */
const STEADY_ROUNDS = 3;
/** How long to wait for the engine to replace its first code. */
const WAIT_MILLISECONDS = 100;
/** Engines' first code is slower than their final one by more than this. */
const REPLACED = 2;
/** Another tile must beat the default by so much; and by more where nothing says that code is final. */
const MARGIN = 1.1;
const MARGIN_UNSURE = 1.5;

const measurements = new Map<boolean, Promise<TileMeasurement>>();

/**
 * The measurement of this process, begun if it is the first: its code is compiled and running for the
 * first time when this resolves. What the caller does until it asks for the result is time that the
 * engine has for better code.
 */
export function measureMicrokernels(relaxedSimd: boolean): Promise<TileMeasurement> {
  let measurement = measurements.get(relaxedSimd);
  if (measurement === undefined) {
    measurement = TileMeasurement.begin(relaxedSimd);
    measurements.set(relaxedSimd, measurement);
  }
  return measurement;
}

/** Rates of the tiles under measurement. */
export class TileMeasurement {
  readonly #default: MicrokernelName;
  readonly #candidates: readonly Candidate[];
  readonly #begun = performance.now();
  #choice: Promise<MicrokernelChoice> | undefined;

  private constructor(preferred: MicrokernelName, candidates: readonly Candidate[]) {
    this.#default = preferred;
    this.#candidates = candidates;
    for (const candidate of candidates) {
      // The first call may compile.
      candidate.run();
      candidate.firstRate = rateOf(candidate, WARM_UP_MILLISECONDS);
    }
  }

  /** Compiles the tiles and runs each for a moment. */
  static async begin(relaxedSimd: boolean): Promise<TileMeasurement> {
    const preferred = defaultMicrokernel(relaxedSimd);
    const names: MicrokernelName[] = [preferred, "4x8", "4x16", relaxedSimd ? "6x16" : "5x16"];
    return new TileMeasurement(preferred, await load(names, relaxedSimd));
  }

  /** The fastest tile. */
  choose(): Promise<MicrokernelChoice> {
    return this.#choice ??= this.#measure();
  }

  async #measure(): Promise<MicrokernelChoice> {
    let steadyRounds = 0;
    while (steadyRounds < STEADY_ROUNDS) {
      const late = performance.now() - this.#begun > WAIT_MILLISECONDS;
      const isNews = this.#runRound();
      const waits = !late && !this.#candidates.every(isReplaced);
      steadyRounds = isNews || waits ? 0 : steadyRounds + 1;
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    const rates = Object.fromEntries(
      this.#candidates.map(({ name, bestRate }) => [name, bestRate]),
    );
    return { name: fastest(this.#candidates, this.#default), rates };
  }

  /** Runs every tile for a slice of time. Gives whether one was notably faster than before. */
  #runRound(): boolean {
    let isNews = false;
    for (const candidate of this.#candidates) {
      const rate = rateOf(candidate, SLICE_MILLISECONDS);
      if (rate > 1.05 * candidate.bestRate) isNews = true;
      candidate.bestRate = Math.max(rate, candidate.bestRate);
    }
    return isNews;
  }
}

/** The fastest of the tiles, unless what was measured may be an engine's first code. */
export function fastest(
  candidates: readonly Pick<Candidate, "name" | "firstRate" | "bestRate">[],
  preferred: MicrokernelName,
): MicrokernelName {
  const usual = candidates.find(({ name }) => name === preferred);
  if (usual === undefined) return preferred;
  const replaced = candidates.filter(isReplaced);
  const isSure = replaced.includes(usual);
  if (!isSure && replaced.length > 0) return preferred;
  const margin = isSure ? MARGIN : MARGIN_UNSURE;
  let best = { name: preferred, rate: margin * usual.bestRate };
  for (const { name, bestRate } of isSure ? replaced : candidates) {
    if (bestRate > best.rate) best = { name, rate: bestRate };
  }
  return best.name;
}

function isReplaced({ firstRate, bestRate }: Pick<Candidate, "firstRate" | "bestRate">): boolean {
  return bestRate > REPLACED * firstRate;
}

/** GFLOP/s of at least `milliseconds`, as the clock sees them. */
function rateOf({ run, flops }: Candidate, milliseconds: number): number {
  const start = performance.now();
  let runs = 0;
  let taken = 0;
  do {
    for (let call = 0; call < 16; call++) run();
    runs += 16;
    taken = performance.now() - start;
  } while (taken < milliseconds);
  return runs * flops / taken / 1e6;
}

async function load(
  names: readonly MicrokernelName[],
  relaxedSimd: boolean,
): Promise<Candidate[]> {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", { pages: 1, shared: false });
  for (const name of names) {
    module.export(name, emitMicrokernel(module, MICROKERNELS[name], relaxedSimd));
  }
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const rowBytes = 4 * K + 64;
  const table = new Int32Array(memory.buffer, 0, 6);
  const a = 64;
  table.forEach((_, row) => table[row] = a + row * rowBytes);
  const b = a + table.length * rowBytes;
  const c = PAGE_BYTES - 4096;
  const { instance } = await WebAssembly.instantiate(module.build(), { env: { memory } });
  return names.map((name) => {
    const { rows, columns } = MICROKERNELS[name];
    const tile = instance.exports[name];
    if (typeof tile !== "function") throw new TypeError(`The module exports no function ${name}`);
    return {
      name,
      run: () => tile(0, 0, b, K, c, 4 * columns, 0, b, 0),
      flops: 2 * rows * columns * K,
      firstRate: 0,
      bestRate: 0,
    };
  });
}
