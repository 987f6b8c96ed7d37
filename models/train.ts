/** A training run: feeds a compiled training step, and can stop and go on bit for bit. */
import * as z from "zod/mini";
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { Batches, checkDataset, type ImageDataset } from "./dataset.ts";
import type { HostTensor } from "./host_tensor.ts";
import type { ImageModel } from "./image_model.ts";
import type { Optimizer } from "./optimizers.ts";
import { initializeLazily } from "./parameters.ts";
import { hostFoldIn, hostKey } from "./random_words.ts";
import { namedTensors, valuesFrom } from "./weights.ts";

interface HostScalar {
  readonly data: ArrayLike<number>;
}

/**
 * A compiled training step whose state is donated, as `compile(trainingStep(…), { bind: { batch }, donate:
 * { state: "state" } })` gives it.
 */
export interface TrainingProgram {
  set(inputs: { readonly state?: unknown }): void;
  run(inputs: { images: Float32Array; labels: Int32Array }): Promise<{
    readonly loss: HostScalar;
    readonly accuracy: HostScalar;
    readonly gradientNorm: HostScalar;
    readonly learningRate: HostScalar;
  }>;
  get(path: "state" | "state/parameters"): unknown;
}

/** What a run is made of. */
export interface TrainerOptions<P> {
  readonly model: ImageModel<P>;
  readonly optimizer: Optimizer;
  /** Compiled from this model and optimizer, for this batch size. */
  readonly program: TrainingProgram;
  readonly data: ImageDataset;
  readonly batchSize: number;
  /** A whole number below 2^32, from which all of the run's random numbers are counted. */
  readonly seed: number;
}

/** What one step gave. */
export interface StepReport {
  /** Steps done, this one included. */
  readonly step: number;
  readonly loss: number;
  /** Share of the batch that was right before the update. */
  readonly accuracy: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
}

/** The loss is no longer a number. */
export class DivergenceError extends RangeError {
  override readonly name = "DivergenceError";
  readonly report: StepReport;

  constructor(report: StepReport) {
    super(
      `The loss of step ${report.step} is ${report.loss}, with gradient norm ${report.gradientNorm} ` +
        `and learning rate ${report.learningRate}: wanted a finite loss; try a lower rate or clipNorm`,
    );
    this.report = report;
  }
}

/** A checkpoint is sound, but of another run. */
export class ResumeError extends TypeError {
  override readonly name = "ResumeError";
}

/** Streams of random numbers, each from a key of its own. */
const STREAMS = { steps: "steps", order: "order" } as const;

/** A training run. It starts where its seed says; {@linkcode Trainer.resume} moves it elsewhere. */
export class Trainer<P> {
  readonly #options: TrainerOptions<P>;
  readonly #batches: Batches;
  readonly #configuration: Readonly<Record<string, unknown>>;
  #step = 0;

  /**
   * Sets the program's state to the seed's initial parameters.
   *
   * @throws {RangeError} When the data set does not fit the model or fill a batch, or for a bad seed.
   */
  constructor(options: TrainerOptions<P>) {
    const { model, optimizer, data, batchSize, seed } = options;
    checkDataset(data, model);
    this.#options = options;
    this.#batches = new Batches(data, batchSize, hostFoldIn(hostKey(seed), STREAMS.order));
    this.#configuration = {
      model: model.config,
      optimizer: optimizer.configuration,
      batchSize,
      images: data.count,
    };
    const parameters = initializeLazily(model.declarations, seed);
    this.#set(parameters, optimizer.initialState(model.declarations), 0);
  }

  /** Steps done, or started. */
  get step(): number {
    return this.#step;
  }

  /** Steps in an epoch. */
  get stepsPerEpoch(): number {
    return this.#batches.perEpoch;
  }

  /**
   * Trains on the next batch. The next step may be started before this one's report is awaited: a GPU
   * then need not wait for whoever reads it.
   *
   * @throws {DivergenceError} When the loss is not finite.
   */
  async next(): Promise<StepReport> {
    const running = this.#options.program.run(this.#batches.at(this.#step));
    const step = ++this.#step;
    const result = await running;
    const report = {
      step,
      loss: numberOf(result.loss),
      accuracy: numberOf(result.accuracy),
      gradientNorm: numberOf(result.gradientNorm),
      learningRate: numberOf(result.learningRate),
    };
    if (!Number.isFinite(report.loss)) throw new DivergenceError(report);
    return report;
  }

  /** The parameters as they are now, by path: copies. */
  async parameters(): Promise<Map<string, HostTensor>> {
    return namedTensors(await this.#options.program.get("state/parameters"));
  }

  /**
   * Saves all that {@linkcode resume} needs. A kill at any moment leaves the previous file whole.
   *
   * @throws {FileWriteError} When the file cannot be written.
   */
  async save(path: string | URL): Promise<void> {
    const step = this.#step;
    // As a whole, which a program can go on from when it loses its device.
    const { parameters, optimizer } = stateOf(await this.#options.program.get("state"));
    await saveCheckpoint(path, {
      parameters: namedTensors(parameters),
      optimizer: namedTensors(optimizer),
      step,
      seed: this.#options.seed,
      position: {
        epoch: Math.floor(step / this.stepsPerEpoch),
        batch: step % this.stepsPerEpoch,
      },
      configuration: this.#configuration,
    });
  }

  /**
   * Goes on where a checkpoint of the same run stopped: the same model, optimizer, batch size, data and
   * seed give the same bits as a run that never stopped.
   *
   * @throws {ResumeError} When it is of another run, naming the first difference.
   * @throws {WeightsError} When its tensors are not those of the model.
   * @throws {CheckpointError} When the file is no checkpoint.
   * @throws {SafetensorsError} When the file is malformed.
   */
  async resume(path: string | URL): Promise<void> {
    const checkpoint = await loadCheckpoint(path, z.record(z.string(), z.json()));
    this.#refuseOtherRuns(String(path), checkpoint);
    const { model, optimizer } = this.#options;
    const groups = splitSlots(checkpoint.optimizer);
    const extra = [...groups.keys()].find((slot) => !optimizer.slots.includes(slot));
    if (extra !== undefined) {
      throw new ResumeError(`Cannot resume from ${path}: the optimizer has no slot "${extra}"`);
    }
    const state = optimizer.slots.map((slot) => {
      const from = `${path}: optimizer/${slot}`;
      return [slot, valuesFrom(model.declarations, groups.get(slot) ?? new Map(), from)] as const;
    });
    const parameters = valuesFrom(model.declarations, checkpoint.parameters, `${path}: parameters`);
    this.#set(parameters, Object.fromEntries(state), checkpoint.step);
  }

  #refuseOtherRuns(path: string, checkpoint: Checkpoint): void {
    const ours = { seed: this.#options.seed, ...this.#configuration };
    const theirs = { seed: checkpoint.seed, ...Object(checkpoint.configuration) };
    const found = firstDifference(JSON.parse(JSON.stringify(ours)), theirs, "");
    if (found === undefined) return;
    throw new ResumeError(
      `Cannot resume from ${path}: ${found.path} is ${found.theirs} there and ${found.ours} here`,
    );
  }

  #set(parameters: unknown, optimizer: unknown, step: number): void {
    const key = Uint32Array.from(hostFoldIn(hostKey(this.#options.seed), STREAMS.steps));
    this.#options.program.set({ state: { parameters, optimizer, step, key } });
    this.#step = step;
  }
}

function stateOf(value: unknown): { readonly parameters: unknown; readonly optimizer: unknown } {
  if (
    typeof value === "object" && value !== null && "parameters" in value && "optimizer" in value
  ) {
    return value;
  }
  throw new TypeError("The program's state has no parameters or no optimizer");
}

function numberOf({ data }: HostScalar): number {
  return data[0] ?? NaN;
}

function splitSlots(
  tensors: ReadonlyMap<string, HostTensor>,
): Map<string, Map<string, HostTensor>> {
  const groups = new Map<string, Map<string, HostTensor>>();
  for (const [path, tensor] of tensors) {
    const slash = path.indexOf("/");
    const slot = path.slice(0, slash);
    const group = groups.get(slot) ?? new Map<string, HostTensor>();
    groups.set(slot, group.set(path.slice(slash + 1), tensor));
  }
  return groups;
}

/** Where two JSON values differ first, and what stands there in each. */
function firstDifference(
  ours: unknown,
  theirs: unknown,
  path: string,
): { path: string; ours: string; theirs: string } | undefined {
  const isRecord = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null;
  if (!isRecord(ours) || !isRecord(theirs)) {
    const show = (value: unknown) => value === undefined ? "missing" : JSON.stringify(value);
    return ours === theirs ? undefined : { path, ours: show(ours), theirs: show(theirs) };
  }
  for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const below = path === "" ? name : `${path}.${name}`;
    const found = firstDifference(ours[name], theirs[name], below);
    if (found !== undefined) return found;
  }
  return undefined;
}
