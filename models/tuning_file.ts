/** What tuning has found on GPUs, in a file. */
import { isTuned, type Tuned, type TuningStore } from "../backends/mod.ts";
import { writeFileAtomic } from "./atomic_file.ts";
import { parseStrictJson, StrictJsonError } from "./strict_json.ts";

/** A file of tuning that cannot be used. */
export class TuningFileError extends Error {
  override readonly name = "TuningFileError";
}

/** Larger files are none of ours: a kernel takes some 60 bytes. */
const MOST_BYTES = 2 ** 20;
const MOST_MEMBERS = 2 ** 14;

/** Tiles and forms by kernel by adapter. */
type Found = Map<string, Map<string, Tuned>>;

/**
 * Keeps in a file which tiles matmuls and attention are fastest in, and in which form attention, by adapter and by the kernels' hashes: for
 * `webgpu({ tuning })`. A missing file is made, with its folder. Several processes may use it; what two
 * find at the same time may be kept of one alone.
 *
 * @throws {TuningFileError} When there is something else at that place: it can be removed.
 */
export async function tuningFile(path: string | URL): Promise<TuningStore> {
  let found = await readFound(path);
  return {
    get: (adapter, kernel) => found.get(adapter)?.get(kernel),
    add: async (adapter, tiles) => {
      // What others have found meanwhile stays.
      found = await readFound(path);
      found.set(adapter, new Map([...found.get(adapter) ?? [], ...tiles]));
      await writeFound(path, found);
    },
  };
}

async function readFound(path: string | URL): Promise<Found> {
  const { readFile, stat } = await import("node:fs/promises");
  const refuse = (problem: string) =>
    new TuningFileError(`${String(path)} holds no tuning: ${problem}; wanted a file made by Fovea`);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MOST_BYTES) throw refuse(`it has ${size} bytes, more than ${MOST_BYTES}`);
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
    throw error;
  }
  try {
    return foundIn(text);
  } catch (error) {
    if (!(error instanceof StrictJsonError || error instanceof TypeError)) throw error;
    throw refuse(error.message);
  }
}

function foundIn(text: string): Found {
  const adapters = parseStrictJson(text, { maxDepth: 3, maxMembers: MOST_MEMBERS });
  if (!(adapters instanceof Map)) throw new TypeError("it is no object of adapters");
  const found: Found = new Map();
  for (const [adapter, kernels] of adapters) {
    if (!(kernels instanceof Map)) throw new TypeError(`"${adapter}" is no object of kernels`);
    const tiles = new Map<string, Tuned>();
    for (const [kernel, tile] of kernels) {
      if (typeof tile !== "string") throw new TypeError(`"${kernel}" has no tile's name`);
      // A tile of another version: its kernels have other hashes as well.
      if (isTuned(tile)) tiles.set(kernel, tile);
    }
    found.set(adapter, tiles);
  }
  return found;
}

async function writeFound(path: string | URL, found: Found): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  const { dirname } = await import("node:path");
  const { fileURLToPath } = await import("node:url");
  const place = path instanceof URL ? fileURLToPath(path) : path;
  await mkdir(dirname(place), { recursive: true });
  const plain = Object.fromEntries(
    [...found].map(([adapter, tiles]) => [adapter, Object.fromEntries(tiles)]),
  );
  await writeFileAtomic(place, new TextEncoder().encode(`${JSON.stringify(plain, null, 2)}\n`));
}
