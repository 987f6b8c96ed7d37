/**
 * Where in the user's own program a node was made: the first stack frame outside the library.
 */

/** A place in a source file; line and column count from 1. */
export interface Site {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

const OWN_FILE = /graph\/site\.ts$/;
/** Beginnings of the library's file names: of three rooms, or of the one file of a bundle. */
const INNER = OWN_FILE.test(import.meta.url)
  ? ["graph/", "compiler/", "backends/"].map((room) => import.meta.url.replace(OWN_FILE, room))
  : [import.meta.url];
/**
 * How many frames are looked at: mostly the first few are enough, and writing a frame down takes longer
 * than making a node.
 */
const DEPTHS = [11, 40];

/** V8 and JavaScriptCore let the depth of stacks be set; elsewhere setting it changes nothing. */
const errors: ErrorConstructor & { stackTraceLimit?: number | undefined } = Error;

function parseFrame(frame: string): Site | undefined {
  const match = /\(?((?:file|https?|blob|data):[^)\s]*|\/[^)\s]*):(\d+):(\d+)\)?$/.exec(frame);
  if (match === null) return undefined;
  const [, file = "", line = "0", column = "0"] = match;
  return { file, line: Number(line), column: Number(column) };
}

/**
 * The caller's place outside `graph/`, `compiler/` and `backends/`, or outside the bundle that holds
 * them; undefined where there is none (such as in a user's bundle of everything) or no stack.
 */
export function captureSite(): Site | undefined {
  for (const depth of DEPTHS) {
    const frames = callers(depth);
    for (const frame of frames) {
      const site = parseFrame(frame.trim());
      if (site !== undefined && !INNER.some((inner) => site.file.startsWith(inner))) return site;
    }
    if (frames.length < depth) return undefined;
  }
  return undefined;
}

/** The innermost frames as text, one a line; at most `depth` of them where engines can be told. */
function callers(depth: number): string[] {
  const limit = errors.stackTraceLimit;
  errors.stackTraceLimit = depth;
  const stack = new Error().stack ?? "";
  errors.stackTraceLimit = limit;
  return stack.split("\n").slice(1);
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
