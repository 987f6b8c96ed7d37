/**
 * A checkpoint: all that a training run needs to continue bit for bit. One safetensors file, with the
 * tensors under `parameters/` and `optimizer/` and the rest as JSON in its metadata.
 */
import { en } from "zod/locales";
import * as z from "zod/mini";
import type { HostTensor } from "./host_tensor.ts";
import { readSafetensors, writeSafetensors } from "./safetensors_file.ts";
import { isStrictObject, parseStrictJson, plainJson, StrictJsonError } from "./strict_json.ts";

/** Where a run stands in its data. */
export interface EpochPosition {
  /** Epochs that are complete. */
  readonly epoch: number;
  /** Batches of the current epoch that are done. */
  readonly batch: number;
}

/** All of a training run's state between two steps. */
export interface Checkpoint<Configuration = unknown> {
  /** Parameters by name. */
  readonly parameters: ReadonlyMap<string, HostTensor>;
  /** The optimizer's state by name. */
  readonly optimizer: ReadonlyMap<string, HostTensor>;
  /** Steps that are done. */
  readonly step: number;
  /** The seed from which all of the run's random numbers are counted. */
  readonly seed: number;
  readonly position: EpochPosition;
  /** What the run was configured with: JSON values only (a -0 is kept as 0). */
  readonly configuration: Configuration;
}

/** A checkpoint cannot be saved, or a file is not a checkpoint. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  /** The file. */
  readonly path: string;
  /** The field at fault, such as `position.epoch`, where it is one. */
  readonly field: string | undefined;

  constructor(
    action: "save" | "load",
    path: string,
    problem: string,
    details: { readonly field?: string | undefined; readonly cause?: unknown } = {},
  ) {
    const field = details.field === undefined ? "" : `field ${details.field}: `;
    super(`Cannot ${action} checkpoint ${path}: ${field}${problem}`, { cause: details.cause });
    this.path = path;
    this.field = details.field;
  }
}

/** The metadata key under which a checkpoint's state stands as JSON. */
export const CHECKPOINT_KEY = "fovea.checkpoint";
/** The version of the format that is written, and the only one that is read. */
export const CHECKPOINT_VERSION = 1;

const GROUPS = ["parameters", "optimizer"] as const;

const count = z.int().check(z.minimum(0));
const stateSchema = z.strictObject({
  version: z.literal(CHECKPOINT_VERSION),
  step: count,
  seed: count,
  position: z.strictObject({ epoch: count, batch: count }),
  configuration: z.unknown().check(z.refine((value) => value !== undefined, "Missing")),
});

/**
 * Saves a checkpoint in one step: a kill at any moment leaves the previous file whole. The tensors must not
 * change before the promise resolves.
 *
 * @throws {CheckpointError} for a count that is not a whole number >= 0, or a configuration that is not JSON
 * (NaN and undefined are not), before anything is written.
 * @throws {SafetensorsError} for a malformed tensor, before anything is written.
 * @throws {FileWriteError} when the file cannot be written.
 */
export async function saveCheckpoint(path: string | URL, checkpoint: Checkpoint): Promise<void> {
  const { step, seed, position, configuration } = checkpoint;
  const state = { version: CHECKPOINT_VERSION, step, seed, position, configuration };
  checkWith(stateSchema, state, { action: "save", path: String(path), within: [] });
  refuseNonJson(configuration, "configuration", [], String(path));
  await writeSafetensors(path, groupedTensors(checkpoint), [
    [CHECKPOINT_KEY, JSON.stringify(state)],
  ]);
}

/** `JSON.stringify` turns NaN into null, drops undefined and flattens classes, all in silence. */
function refuseNonJson(
  value: unknown,
  field: string,
  within: readonly unknown[],
  path: string,
): void {
  if (value === null || typeof value === "boolean" || Number.isFinite(value)) return;
  const refuse = (found: string) =>
    new CheckpointError("save", path, `${found} cannot be kept as JSON`, { field });
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw refuse("a string with a lone surrogate");
    return;
  }
  if (typeof value !== "object") {
    throw refuse(typeof value === "number" ? `${value}` : typeof value);
  }
  if (within.includes(value)) throw refuse("an object that contains itself");
  const prototype: unknown = Object.getPrototypeOf(value);
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) {
    throw refuse(`an object of class ${value.constructor.name}`);
  }
  if (Array.isArray(value) && Object.keys(value).length !== value.length) {
    throw refuse("an array with holes or named members");
  }
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) throw refuse("a key with a lone surrogate");
  }
  for (const [key, member] of Object.entries(value)) {
    refuseNonJson(member, `${field}.${key}`, [...within, value], path);
  }
}

function* groupedTensors(checkpoint: Checkpoint): Generator<readonly [string, HostTensor]> {
  for (const group of GROUPS) {
    for (const [name, tensor] of checkpoint[group]) yield [`${group}/${name}`, tensor];
  }
}

/**
 * Loads a checkpoint. `configurationSchema` checks the configuration and gives it its type.
 *
 * @throws {CheckpointError} when the file is safetensors but not a checkpoint of this version, naming the
 * field.
 * @throws {SafetensorsError} when the file is malformed.
 * @throws Deno's own errors when it cannot be opened or read.
 */
export async function loadCheckpoint<Configuration>(
  path: string | URL,
  configurationSchema: z.core.$ZodType<Configuration>,
): Promise<Checkpoint<Configuration>> {
  const place = { action: "load", path: String(path) } as const;
  const file = await readSafetensors(path);
  const state = parseState(file.metadata.get(CHECKPOINT_KEY), place.path);
  const configuration = checkWith(configurationSchema, state.configuration, {
    ...place,
    within: ["configuration"],
  });
  const { step, seed, position } = state;
  return { ...splitGroups(file.tensors, place.path), step, seed, position, configuration };
}

function parseState(text: string | undefined, path: string): z.infer<typeof stateSchema> {
  if (text === undefined) {
    throw new CheckpointError("load", path, `its metadata has no ${CHECKPOINT_KEY}`);
  }
  const state = parseStateJson(text, path);
  // Another version may have other fields, so it is told before they are looked at.
  if (isStrictObject(state) && state.get("version") !== CHECKPOINT_VERSION) {
    const found = JSON.stringify(state.get("version")) ?? "missing";
    const problem = `the format's version is ${found}, wanted ${CHECKPOINT_VERSION}`;
    throw new CheckpointError("load", path, problem, { field: "version" });
  }
  return checkWith(stateSchema, plainJson(state), { action: "load", path, within: [] });
}

function parseStateJson(text: string, path: string): ReturnType<typeof parseStrictJson> {
  try {
    return parseStrictJson(text);
  } catch (cause) {
    if (!(cause instanceof StrictJsonError)) throw cause;
    throw new CheckpointError("load", path, cause.message, { field: CHECKPOINT_KEY, cause });
  }
}

function splitGroups(
  tensors: ReadonlyMap<string, HostTensor>,
  path: string,
): Pick<Checkpoint, (typeof GROUPS)[number]> {
  const groups = {
    parameters: new Map<string, HostTensor>(),
    optimizer: new Map<string, HostTensor>(),
  };
  for (const [name, tensor] of tensors) {
    const group = GROUPS.find((candidate) => name.startsWith(`${candidate}/`));
    if (group === undefined) {
      const problem = `tensor ${JSON.stringify(name)} is in no group, wanted ` +
        GROUPS.map((candidate) => `${candidate}/…`).join(" or ");
      throw new CheckpointError("load", path, problem);
    }
    groups[group].set(name.slice(group.length + 1), tensor);
  }
  return groups;
}

function checkWith<T>(
  schema: z.core.$ZodType<T>,
  value: unknown,
  place: {
    readonly action: "save" | "load";
    readonly path: string;
    readonly within: readonly PropertyKey[];
  },
): T {
  const result = z.safeParse(schema, value, { error: en().localeError });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = [...place.within, ...(issue?.path ?? [])].map(String).join(".");
  throw new CheckpointError(place.action, place.path, issue?.message ?? result.error.message, {
    field: field === "" ? undefined : field,
    cause: result.error,
  });
}
