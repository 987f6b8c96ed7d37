/**
 * Where in the user's own program a node was made: the first stack frame outside the library.
 */

/** A place in a source file; line and column count from 1. */
export interface Site {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

const LIBRARY = new URL("../", import.meta.url).href;
const INNER_ROOMS = ["graph/", "compiler/", "backends/"].map((room) => LIBRARY + room);
const DEPTH = 40;

function parseFrame(frame: string): Site | undefined {
  const match = /\(?((?:file|https?|blob|data):[^)\s]*|\/[^)\s]*):(\d+):(\d+)\)?$/.exec(frame);
  if (match === null) return undefined;
  const [, file = "", line = "0", column = "0"] = match;
  return { file, line: Number(line), column: Number(column) };
}

/**
 * The caller's place outside `graph/`, `compiler/` and `backends/`, or undefined where the engine
 * gives no stack (a bundled build has one file, whose own lines are then reported).
 */
export function captureSite(): Site | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = DEPTH;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = limit;
  for (const frame of stack.split("\n").slice(1)) {
    const site = parseFrame(frame.trim());
    if (site !== undefined && !INNER_ROOMS.some((room) => site.file.startsWith(room))) return site;
  }
  return undefined;
}

/** Text such as `vit.ts:41` (the file's last segment), for printing. */
export function formatSite(site: Site | undefined): string {
  if (site === undefined) return "?";
  return `${site.file.slice(site.file.lastIndexOf("/") + 1)}:${site.line}`;
}

/** Text with the whole file name, which a terminal can open: `file:///…/vit.ts:41:7`. */
export function formatFullSite(site: Site | undefined): string {
  return site === undefined ? "an unknown place" : `${site.file}:${site.line}:${site.column}`;
}
