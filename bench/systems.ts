/** The systems that are measured: what each can do, and in which ways. How to start one: start.ts. */
import project from "../deno.json" with { type: "json" };
import { LEAN, USUAL, withTiles } from "./fovea/settings.ts";
import { WEB_GPU_SETTINGS } from "./onnx/web_gpu_setting.ts";
import { imports } from "./packages.ts";
import { isHeavy, type Work } from "./works.ts";

/** A system, as the benchmark's main process knows it. */
export interface System {
  /** Its package's name; ours is `fovea`. */
  readonly name: string;
  readonly version: string;
  /** Whether it can do the work. */
  readonly does: (work: Work) => boolean;
  /**
   * The ways in which it can do the work on so many threads, of which the fastest counts. The one that
   * was the fastest of large works comes first.
   */
  readonly settings: (work: Work, threads: number) => readonly string[];
  /** Whether it wants the work as an ONNX model in a file. */
  readonly readsOnnx: boolean;
}

function peer(name: keyof typeof imports, rest: Omit<System, "name" | "version">): System {
  return { name, version: imports[name].split("@").at(-1) ?? "", ...rest };
}

function inDeno(work: Work): boolean {
  return work.suite !== "matmul" || work.host === "deno";
}

/** Whether the work is for the processor. */
function onProcessor(work: Work): boolean {
  return !("backend" in work) || work.backend === "wasm";
}

const infers = (work: Work) => work.suite === "matmul" || work.suite === "forward";

const ONE_PROGRAM = "one program";

export const FOVEA: System = {
  name: "fovea",
  version: project.version,
  does: () => true,
  settings(work) {
    if (onProcessor(work)) return work.suite === "matmul" ? [LEAN, USUAL] : [ONE_PROGRAM];
    return withTiles(work.suite === "matmul" ? LEAN : ONE_PROGRAM);
  },
  readsOnnx: false,
};

export const ORT_WEB: System = peer("onnxruntime-web", {
  does: (work) =>
    (infers(work) || work.suite === "compile" || work.suite === "dispatch") && inDeno(work),
  settings: (work) => onProcessor(work) ? ["all graph optimisations"] : WEB_GPU_SETTINGS,
  readsOnnx: true,
});

export const ORT_NODE: System = peer("onnxruntime-node", {
  does: (work) => (infers(work) || work.suite === "compile") && onProcessor(work),
  settings: () => ["all graph optimisations"],
  readsOnnx: true,
});

export const TFJS: System = peer("@tensorflow/tfjs-backend-wasm", {
  does: (work) => infers(work) && inDeno(work) && onProcessor(work),
  settings: (work) => work.suite === "forward" ? ["heads apart", "heads together"] : ["matMul"],
  readsOnnx: false,
});

export const JAX: System = peer("@jax-js/jax", {
  does: (work) =>
    (infers(work) || work.suite === "train" || work.suite === "dispatch") && inDeno(work),
  settings(work, threads) {
    const jits = jitsOf(work);
    if (!onProcessor(work)) return jits;
    const workers = threads > 1 ? ["workers", "no workers"] : ["no workers"];
    return workers.flatMap((where) => jits.map((jit) => `${jit}, ${where}`));
  },
  readsOnnx: false,
});

/** Training larger models in parts takes more than the 4 GiB that it can have. */
function jitsOf(work: Work): readonly string[] {
  if (work.suite === "matmul") return ["whole in one jit"];
  const jits = ["parts jitted alone", "whole in one jit"];
  return work.suite === "train" && isHeavy(work, false) ? jits.toReversed() : jits;
}

export const SYSTEMS: readonly System[] = [FOVEA, ORT_WEB, ORT_NODE, TFJS, JAX];
