/** The benchmark's command line. */
import { parseArgs } from "node:util";
import { type System, SYSTEMS } from "./systems.ts";
import { GPU_WORKS, type Work, WORKS } from "./works.ts";

const SECONDS = 2;
const QUICK_SECONDS = 0.5;
const PATIENCE_SECONDS = 45;

const BACKEND_WORKS: Readonly<Record<string, readonly Work[]>> = {
  wasm: WORKS,
  webgpu: GPU_WORKS,
};

function namesOf(works: readonly Work[]): string {
  return [...new Set(works.map(({ name }) => name))].join(", ");
}

export const HELP = `Measures Fovea beside its peers, in turns, and the machine's peak.

  --json             one JSON object a line; the tables go to standard error
  --only <text>      the works of this name, or if there is none those whose name contains the text
  --backend <name>   wasm (default), or webgpu: other works, on the GPU that there is
  --systems <a,b>    systems to measure (default: all that can do the work)
  --threads <1,2>    numbers of threads (default: 1, and 2 if the machine has them)
  --seconds <n>      for how long each system is timed, warm-up aside (default ${SECONDS})
  --patience <n>     for how many seconds a work may wait for a calm machine (default ${PATIENCE_SECONDS})
  --quick            peers on the most threads alone, at what is known to be their best setting, and
                     each system timed for ${QUICK_SECONDS} s
  --own-driver       on WebGPU without a GPU: the machine's own driver in software, and onnxruntime-web in
                     Deno, instead of Chromium's driver, the only one that Chromium takes
  --no-tune          on WebGPU, without Fovea's own measurements of tiles: the same kernels each time
  --every-setting    try every setting of a peer, also where the best is known and a run takes long
  --help             this text

Systems: ${SYSTEMS.map(({ name }) => name).join(", ")}
Works: ${namesOf(WORKS)}
Works on WebGPU: ${namesOf(GPU_WORKS)}`;

/** A command line that cannot be followed. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What the command line asks for. */
export interface Options {
  readonly json: boolean;
  readonly works: readonly Work[];
  readonly systems: readonly System[];
  readonly threads: readonly number[];
  readonly seconds: number;
  readonly patience: number;
  readonly everySetting: boolean;
  readonly quick: boolean;
  readonly tune: boolean;
  readonly ownDriver: boolean;
}

/**
 * Reads the command line; undefined when it asks for help.
 *
 * @param machineThreads Threads that the machine has.
 * @throws {UsageError} Naming the argument and what was wanted.
 */
export function readOptions(args: readonly string[], machineThreads: number): Options | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const works = BACKEND_WORKS[values.backend];
  if (works === undefined) {
    const wanted = Object.keys(BACKEND_WORKS).join(" or ");
    throw new UsageError(`--backend is ${values.backend}, wanted ${wanted}`);
  }
  const systems = values.systems === undefined ? SYSTEMS : chosenSystems(values.systems);
  return {
    json: values.json,
    works: doable(chosenWorks(values.only, works), systems),
    systems,
    threads: values.threads === undefined
      ? works === GPU_WORKS ? [1] : [1, 2].filter((count) => count <= machineThreads)
      : chosenThreads(values.threads),
    seconds: values.seconds === undefined
      ? values.quick ? QUICK_SECONDS : SECONDS
      : positive("seconds", values.seconds),
    patience: values.patience === undefined
      ? PATIENCE_SECONDS
      : positive("patience", values.patience),
    everySetting: values["every-setting"],
    quick: values.quick,
    tune: !values["no-tune"],
    ownDriver: values["own-driver"],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        json: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        backend: { type: "string", default: "wasm" },
        systems: { type: "string" },
        threads: { type: "string" },
        seconds: { type: "string" },
        patience: { type: "string" },
        quick: { type: "boolean", default: false },
        "no-tune": { type: "boolean", default: false },
        "own-driver": { type: "boolean", default: false },
        "every-setting": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

function chosenWorks(text: string, works: readonly Work[]): readonly Work[] {
  const exact = works.filter(({ name }) => name === text);
  const chosen = exact.length > 0 ? exact : works.filter(({ name }) => name.includes(text));
  if (chosen.length > 0) return chosen;
  throw new UsageError(
    `--only is ${text}, wanted one of these or a part of it: ${namesOf(works)}`,
  );
}

/** The works that some of the systems can do; the machine's peak needs none. */
function doable(works: readonly Work[], systems: readonly System[]): readonly Work[] {
  const chosen = works.filter((work) =>
    work.suite === "machine" || systems.some(({ does }) => does(work))
  );
  if (chosen.length > 0) return chosen;
  const [names, wanted] = [systems, works].map((list) => list.map(({ name }) => name).join(", "));
  throw new UsageError(`No system of --systems (${names}) can do what --only asks for (${wanted})`);
}

function chosenSystems(text: string): readonly System[] {
  const names = text.split(",");
  const unknown = names.find((name) => !SYSTEMS.some((system) => system.name === name));
  if (unknown === undefined) return SYSTEMS.filter(({ name }) => names.includes(name));
  const known = SYSTEMS.map(({ name }) => name).join(", ");
  throw new UsageError(`--systems has "${unknown}", wanted some of these: ${known}`);
}

function chosenThreads(text: string): readonly number[] {
  const counts = text.split(",").map((count) => positive("threads", count));
  const fraction = counts.find((count) => !Number.isInteger(count));
  if (fraction === undefined) return [...new Set(counts)];
  throw new UsageError(`--threads has ${fraction}, wanted whole numbers`);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`--${name} is ${text}, wanted a number > 0`);
}
