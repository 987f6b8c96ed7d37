/** The most memory that processes have had. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** What Linux tells of a process, in `/proc/<id>/status`. */
export interface ProcessStatus {
  readonly id: number;
  readonly parent: number;
  /** The most memory that it has had; 0 where it has none of its own. */
  readonly peakBytes: number;
}

/** Reads the text of a `status` file; undefined where it has no process's id. */
export function parseStatus(text: string): ProcessStatus | undefined {
  const [id, parent, peak] = ["Pid", "PPid", "VmHWM"].map((field) =>
    Number(new RegExp(`^${field}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? NaN)
  );
  if (id === undefined || parent === undefined || Number.isNaN(id + parent)) return undefined;
  return { id, parent, peakBytes: Number.isNaN(peak) ? 0 : (peak ?? 0) * 1024 };
}

/** The processes that one has started, theirs included, without itself. */
export function descendants(
  processes: readonly ProcessStatus[],
  ancestor: number,
): ProcessStatus[] {
  const children = processes.filter(({ parent }) => parent === ancestor);
  return children.flatMap((child) => [child, ...descendants(processes, child.id)]);
}

/**
 * The most memory that this process has had. Linux counts that afresh for each program that is started;
 * what `getrusage` gives may be that of the process which started this one.
 */
export function peakBytes(): number {
  if (process.platform === "linux") {
    const own = parseStatus(readFileSync("/proc/self/status", "utf8"));
    if (own !== undefined && own.peakBytes > 0) return own.peakBytes;
  }
  return process.resourceUsage().maxRSS * 1024;
}

/**
 * The most memory that each of the processes under this one has had, added up: those that are alive.
 *
 * @throws {Error} On systems other than Linux, which do not tell.
 */
export function peakBytesBelow(): number {
  const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const processes = ids.map((id) => parseStatus(statusOf(id))).filter((one) => one !== undefined);
  return descendants(processes, process.pid)
    .reduce((total, { peakBytes }) => total + peakBytes, 0);
}

/** Empty for a process that has just ended. */
function statusOf(id: string): string {
  try {
    return readFileSync(`/proc/${id}/status`, "utf8");
  } catch (error) {
    const gone = error instanceof Error && "code" in error &&
      (error.code === "ENOENT" || error.code === "ESRCH");
    if (gone) return "";
    throw error;
  }
}
