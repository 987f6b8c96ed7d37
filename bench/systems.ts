/** The systems that are measured, how each can be set up, and how it is started in its process. */
import configuration from "../deno.json" with { type: "json" };
import type { MeasuredRun } from "./measured_run.ts";
import type { Work } from "./works.ts";

/** A system that trains. */
export interface System {
  /** Its package's name; ours is `fovea`. */
  readonly name: string;
  readonly version: string;
  /** The ways in which it can use so many threads; the fastest one counts. */
  settings(threads: number): readonly string[];
  /** Starts it, in a process of its own. */
  start(work: Work, threads: number, setting: string): Promise<MeasuredRun>;
}

export const FOVEA: System = {
  name: "fovea",
  version: configuration.version,
  settings: () => ["one program"],
  async start(work, threads) {
    if (work.suite === "machine") return (await import("./fma_peak.ts")).startPeak();
    const { startFovea } = await import("./fovea_training.ts");
    return await startFovea(work, threads);
  },
};

const JAX_PACKAGE = "@jax-js/jax";

export const JAX: System = {
  name: JAX_PACKAGE,
  version: configuration.imports[JAX_PACKAGE].split("@").at(-1) ?? "",
  settings: (threads) => [
    "whole step in one jit, no workers",
    "parts jitted alone, no workers",
    ...(threads > 1 ? ["whole step in one jit, workers", "parts jitted alone, workers"] : []),
  ],
  async start(work, threads, setting) {
    if (work.suite === "machine") {
      throw new TypeError(`${JAX_PACKAGE} does not measure the machine`);
    }
    // The backend starts as many workers as the machine has threads, which it reads as it is loaded.
    Object.defineProperty(navigator, "hardwareConcurrency", { value: threads });
    const { startJax } = await import("./jax_training.ts");
    return startJax(work, {
      jit: setting.startsWith("whole") ? "whole" : "parts",
      workers: !setting.endsWith("no workers"),
    });
  },
};

export const SYSTEMS: readonly System[] = [FOVEA, JAX];

/**
 * The system of that name.
 *
 * @throws {RangeError} When there is none.
 */
export function systemNamed(name: string): System {
  const found = SYSTEMS.find((system) => system.name === name);
  if (found !== undefined) return found;
  const names = SYSTEMS.map((system) => system.name).join(", ");
  throw new RangeError(`There is no system "${name}": wanted one of ${names}`);
}
