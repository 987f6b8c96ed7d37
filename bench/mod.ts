/**
 * Measures Fovea beside its peers, in one run, in turns: matrix products, forward passes, training
 * steps, starts, and how time grows with the work.
 *
 *     deno task bench
 *     deno task bench --json --only "vit-b16 forward" --systems fovea,onnxruntime-web --threads 2
 *
 * Expected: the machine's multiply-add peak, a table for each work, and at the end which targets are
 * reached. A work whose systems do not agree on the results is not timed; the benchmark then goes on with the
 * next, and fails at its end. docs/benchmarks.md has figures and what they mean.
 */
import { MismatchError } from "./agreement.ts";
import { HELP, type Options, readOptions, UsageError } from "./arguments.ts";
import { Watch } from "./calm.ts";
import { measureStarts } from "./cold.ts";
import { ContenderError } from "./contender.ts";
import { HostError } from "./contender_command.ts";
import { findGpuPlace, type GpuPlace } from "./gpu_place.ts";
import { type DispatchCosts, measureDispatches } from "./dispatches.ts";
import { compare, type Comparison, type MeasureOptions } from "./measure.ts";
import { writeModel } from "./onnx/write_model.ts";
import {
  COPIES,
  FED_MULTIPLY_ADDS,
  MachineProcesses,
  type MachineRate,
  measurePeaks,
  MULTIPLY_ADDS,
} from "./peak.ts";
import {
  comparisonRecords,
  dispatchRecords,
  type JsonRecord,
  peakRecords,
  scalingRecords,
  startRecords,
} from "./records.ts";
import { comparisonText, dispatchText, peakText, scalingText, startText } from "./report.ts";
import { measureScaling } from "./scaling.ts";
import { type Results, targetsOf, targetText } from "./targets.ts";
import { type Work, WORKS } from "./works.ts";

/** What a work gave: to be read, and as records. */
interface Output {
  readonly text: string;
  readonly records: readonly JsonRecord[];
}

/** Collects the results of one work after the other. */
class Bench {
  readonly #options: MeasureOptions;
  readonly #peakProcesses: MachineProcesses;
  readonly #peaks: MachineRate[] = [];
  readonly #comparisons: Comparison[] = [];
  readonly #dispatches: DispatchCosts[] = [];
  #starts: Results["starts"] = [];

  constructor(options: MeasureOptions, peakProcesses: MachineProcesses) {
    this.#options = options;
    this.#peakProcesses = peakProcesses;
  }

  get results(): Results {
    return {
      peaks: this.#peaks,
      comparisons: this.#comparisons,
      starts: this.#starts,
      dispatches: this.#dispatches,
    };
  }

  async measure(work: Work): Promise<Output> {
    const systems = this.#options.systems.filter(({ does }) => does(work));
    const options = { ...this.#options, systems };
    switch (work.suite) {
      case "machine":
        this.#peaks.push(...await measurePeaks(work, this.#peakProcesses, options));
        return { text: peakText(work, this.#peaks), records: peakRecords(work, this.#peaks) };
      case "matmul":
      case "forward":
      case "train": {
        const comparison = await compare(work, options);
        this.#comparisons.push(comparison);
        return {
          text: comparisonText(comparison, this.#peaks),
          records: comparisonRecords(comparison),
        };
      }
      case "dispatch": {
        const costs = await measureDispatches(work, options);
        this.#dispatches.push(costs);
        return { text: dispatchText(costs), records: dispatchRecords(costs) };
      }
      case "compile":
        this.#starts = await measureStarts(work, options);
        return { text: startText(work, this.#starts), records: startRecords(work, this.#starts) };
      case "scaling": {
        const scaling = await measureScaling(work, options);
        return { text: scalingText(scaling), records: scalingRecords(scaling) };
      }
    }
  }
}

/** Errors of one work: the others can still be measured. */
function isOfOneWork(error: unknown): error is Error {
  return error instanceof ContenderError || error instanceof HostError ||
    error instanceof MismatchError;
}

/**
 * Shares of the most ever seen from which on the machine counts as calm. Neighbours on the same processor
 * take away cores, or share one, or the shared cache: products then took up to 1.4 times as long while
 * multiply-adds in registers lost nothing. Those of operands from the first cache show a shared core,
 * copies a shared cache.
 */
const CALM_CORES = 0.95;
const CALM_CACHE = 0.9;

/**
 * Measures what was asked for, and prints.
 *
 * @returns Whether every work was measured.
 */
async function bench(options: Options): Promise<boolean> {
  const { json, works, seconds, patience } = options;
  const folder = await Deno.makeTempDir({ prefix: "fovea_bench_" });
  const print = json ? console.error : console.log;
  const failures: string[] = [];
  try {
    const most = Math.max(...options.threads);
    await using peak = await MachineProcesses.launch(MULTIPLY_ADDS, most, folder);
    await using fed = await MachineProcesses.launch(FED_MULTIPLY_ADDS, most, folder);
    await using copies = await MachineProcesses.launch(COPIES, most, folder);
    const gpu = await gpuPlace(options);
    const run = new Bench({
      ...options,
      milliseconds: seconds * 1000,
      patience: patience * 1000,
      folder,
      writeModel,
      gpu,
      watch: new Watch([
        { rate: (threads) => peak.rate(threads), share: CALM_CORES },
        { rate: (threads) => fed.rate(threads), share: CALM_CORES },
        { rate: (threads) => copies.rate(threads), share: CALM_CACHE },
      ]),
      progress: showProgress,
    }, peak);
    for (const work of works) {
      if (needsOtherGpu(work, gpu) && works.length > 1) {
        print(`${work.name}: left out, as there is no GPU but a driver in software\n`);
        continue;
      }
      try {
        const { text, records } = await run.measure(work);
        showProgress("");
        print(text);
        if (json) { for (const record of records) console.log(JSON.stringify(record)); }
      } catch (error) {
        if (!isOfOneWork(error)) throw error;
        showProgress("");
        console.error(`${work.name}: ${error.message}\n`);
        failures.push(work.name);
      }
    }
    print(await targets(works, run.results));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  if (failures.length > 0) console.error(`Not measured: ${failures.join(", ")}`);
  return failures.length === 0;
}

/** Where GPU work is done; nothing is looked for when there is none. */
async function gpuPlace({ works, ownDriver }: Options): Promise<GpuPlace> {
  const onGpu = works.some((work) => "backend" in work && work.backend === "webgpu");
  return onGpu
    ? await findGpuPlace(ownDriver)
    : { vulkanDriver: undefined, browser: false, software: true };
}

/** Whether the work is too much for what there is. */
function needsOtherGpu(work: Work, { software }: GpuPlace): boolean {
  return "needsGpu" in work && software;
}

/** The goals of the works; in a full run also those of the bundle, which is made for it. */
async function targets(works: readonly Work[], results: Results): Promise<string> {
  if (works.length < WORKS.length) return targetText(targetsOf(works, results));
  const { buildBundle } = await import("../tests/tools/bundle.ts");
  const { gzipBytes } = await buildBundle();
  return targetText(targetsOf(works, { ...results, bundleBytes: gzipBytes }));
}

/** What is under way, on standard error: only for eyes, and gone with the next text. */
function showProgress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

if (import.meta.main) {
  try {
    const options = readOptions(Deno.args, navigator.hardwareConcurrency);
    if (options === undefined) console.log(HELP);
    else if (!await bench(options)) Deno.exitCode = 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
