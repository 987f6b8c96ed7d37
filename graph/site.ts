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
const ROOMS = ["graph/", "compiler/", "backends/", "models/"];
/** Beginnings of the library's file names: of its rooms, or of the one file of a bundle. */
const INNER = OWN_FILE.test(import.meta.url)
  ? ROOMS.map((room) => import.meta.url.replace(OWN_FILE, room))
  : [import.meta.url];
const DEPTH = 40;

/** V8 and JavaScriptCore let the depth of stacks be set; elsewhere setting it changes nothing. */
const errors: ErrorConstructor & { stackTraceLimit?: number | undefined } = Error;

function parseFrame(frame: string): Site | undefined {
  const match = /\(?((?:file|https?|blob|data):[^)\s]*|\/[^)\s]*):(\d+):(\d+)\)?$/.exec(frame);
  if (match === null) return undefined;
  const [, file = "", line = "0", column = "0"] = match;
  return { file, line: Number(line), column: Number(column) };
}

/** Finds out where something was made, the first time it is called. */
export type Origin = () => Site | undefined;

/**
 * The caller's place outside of the library, or outside of the bundle that holds it; undefined where
 * there is none (such as in a user's bundle of everything) or no stack. Only noting the stack is quick:
 * reading it takes a hundred times as long as making a node.
 */
export function captureOrigin(): Origin {
  const limit = errors.stackTraceLimit;
  errors.stackTraceLimit = DEPTH;
  let raised: Error | undefined = new Error();
  errors.stackTraceLimit = limit;
  let site: Site | undefined;
  return () => {
    if (raised !== undefined) site = siteIn(raised.stack ?? "");
    raised = undefined;
    return site;
  };
}

/** The caller's place, as {@linkcode captureOrigin} finds it, at once. */
export function captureSite(): Site | undefined {
  return captureOrigin()();
}

function siteIn(stack: string): Site | undefined {
  for (const frame of stack.split("\n").slice(1)) {
    const site = parseFrame(frame.trim());
    if (site !== undefined && !INNER.some((inner) => site.file.startsWith(inner))) return site;
  }
  return undefined;
}

/** Text such as `train.ts:41` (the file's last segment), for printing. */
export function formatSite(site: Site | undefined): string {
  if (site === undefined) return "?";
  return `${site.file.slice(site.file.lastIndexOf("/") + 1)}:${site.line}`;
}

/** Text with the whole file name, which a terminal can open: `file:///…/train.ts:41:7`. */
export function formatFullSite(site: Site | undefined): string {
  return site === undefined ? "an unknown place" : `${site.file}:${site.line}:${site.column}`;
}
