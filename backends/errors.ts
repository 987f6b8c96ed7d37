/** What can go wrong when a program is prepared, fed or run. */
import { type NodeNote, noteNode } from "../graph/node_note.ts";
import { formatFullSite } from "../graph/site.ts";

export { type NodeNote, noteNode };

/** A value given to a program does not fit its input: wrong name, shape, element type, or NaN. */
export class InputError extends TypeError {
  override readonly name = "InputError";
}

/** Memory for a program could not be had. */
export class OutOfMemoryError extends RangeError {
  override readonly name = "OutOfMemoryError";
  /** What was asked for. */
  readonly bytesWanted: number;

  constructor(bytesWanted: number, reason: string, options?: ErrorOptions) {
    const mebibytes = (bytesWanted / 2 ** 20).toFixed(1);
    super(`Cannot allocate ${bytesWanted} bytes (${mebibytes} MiB): ${reason}`, options);
    this.bytesWanted = bytesWanted;
  }
}

/** What helps against {@linkcode OutOfMemoryError}. */
export const LESS_MEMORY =
  "bind smaller sizes, such as the batch's, or compile with a memoryLimit or checkpoint()";

/** A worker thread did not start, died, or no longer answers. */
export class WorkerError extends Error {
  override readonly name = "WorkerError";
}

/** The program cannot run any more: it was disposed, or an earlier run failed. */
export class UnusableProgramError extends Error {
  override readonly name = "UnusableProgramError";
}

/** Where a kernel failed. */
export interface KernelFailure {
  /** Name of the kernel. */
  readonly kernel: string;
  /** Index of the step in the program. */
  readonly step: number;
  /** The graph nodes that the step computes. */
  readonly nodes: readonly NodeNote[];
  /** The thread it happened on; 0 is the caller's. */
  readonly thread: number;
}

/** A kernel trapped while the program ran. The program is unusable afterwards. */
export class KernelError extends Error implements KernelFailure {
  override readonly name = "KernelError";
  readonly kernel: string;
  readonly step: number;
  readonly nodes: readonly NodeNote[];
  readonly thread: number;

  constructor(failure: KernelFailure, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const where = `Kernel "${failure.kernel}" (step ${failure.step}, thread ${failure.thread})`;
    const nodes = failure.nodes.map((node) => `  ${describeNode(node)}`);
    super([`${where} failed: ${reason}`, ...nodes].join("\n"), { cause });
    this.kernel = failure.kernel;
    this.step = failure.step;
    this.nodes = failure.nodes;
    this.thread = failure.thread;
  }
}

/** Text such as `add "residual" in encoder/3 at file:///…/vit.ts:41:7`. */
export function describeNode(node: NodeNote): string {
  const label = node.label === undefined ? "" : ` "${node.label}"`;
  const scope = node.scope === "" ? "" : ` in ${node.scope}`;
  return `${node.op}${label}${scope} at ${formatFullSite(node.site)}`;
}
