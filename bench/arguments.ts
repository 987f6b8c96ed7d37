/** The benchmark's command line. */
import { parseArgs } from "node:util";
import { type System, SYSTEMS } from "./systems.ts";
import { type Work, WORKS } from "./works.ts";

export const HELP = `Trains the same ViTs on Fovea and on its peers, side by side.

  --json             one JSON object a line instead of tables
  --only <text>      works whose name contains the text
  --systems <a,b>    systems to measure (default ${SYSTEMS.map(({ name }) => name).join(",")})
  --threads <1,2>    numbers of threads (default: 1, and 2 if the machine has them)
  --seconds <n>      for how long each system is timed, warm-up aside (default 5)
  --help             this text

Works: ${WORKS.map(({ name }) => name).join(", ")}`;

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
  return {
    json: values.json,
    works: chosenWorks(values.only),
    systems: values.systems === undefined ? SYSTEMS : chosenSystems(values.systems),
    threads: values.threads === undefined
      ? [1, 2].filter((count) => count <= machineThreads)
      : chosenThreads(values.threads),
    seconds: positive("seconds", values.seconds),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        json: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        systems: { type: "string" },
        threads: { type: "string" },
        seconds: { type: "string", default: "5" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

function chosenWorks(text: string): readonly Work[] {
  const chosen = WORKS.filter(({ name }) => name.includes(text));
  if (chosen.length > 0) return chosen;
  const names = WORKS.map(({ name }) => name).join(", ");
  throw new UsageError(`--only is ${text}, wanted a part of one of these: ${names}`);
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
