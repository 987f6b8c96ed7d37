/**
 * Checks that the rooms import each other one way only: models → compiler → graph, backends →
 * compiler → graph, and nothing outside of examples/, tests/ and bench/ sees all of them.
 *
 *     deno run --allow-read=. tests/tools/check_imports.ts
 */

/** What each room may import from, beside itself and packages. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  graph: [],
  compiler: ["graph"],
  backends: ["compiler", "graph"],
  models: ["backends", "compiler", "graph"],
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)[^;"']*?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;

/** An import that goes the wrong way. */
export interface WrongImport {
  readonly file: string;
  readonly target: string;
  readonly room: string;
}

/** All imports that go the wrong way, among TypeScript files under `root`. */
export async function findWrongImports(root: URL): Promise<WrongImport[]> {
  const wrong: WrongImport[] = [];
  for (const room of Object.keys(ALLOWED)) {
    for await (const file of typeScriptFiles(new URL(`${room}/`, root))) {
      const text = await Deno.readTextFile(file);
      const name = file.href.slice(root.href.length);
      wrong.push(...wrongImportsIn(name, text, (target) => roomOf(target, file, root)));
    }
  }
  return wrong;
}

/** The imports of one file that go the wrong way. */
export function wrongImportsIn(
  file: string,
  text: string,
  roomOfTarget: (target: string) => string | undefined,
): WrongImport[] {
  const room = file.split("/")[0] ?? "";
  const allowed = ALLOWED[room] ?? [];
  const wrong: WrongImport[] = [];
  for (const match of text.matchAll(IMPORT)) {
    const target = match[1] ?? match[2] ?? "";
    const other = roomOfTarget(target);
    if (other === undefined || other === room || allowed.includes(other)) continue;
    wrong.push({ file, target, room: other });
  }
  return wrong;
}

function roomOf(target: string, file: URL, root: URL): string | undefined {
  const named = /^@fovea\/fovea\/(\w+)/.exec(target);
  if (named !== null) return named[1];
  if (!target.startsWith(".")) return undefined;
  const resolved = new URL(target, file).href;
  return resolved.startsWith(root.href)
    ? resolved.slice(root.href.length).split("/")[0]
    : "outside the project";
}

async function* typeScriptFiles(folder: URL): AsyncGenerator<URL> {
  for await (const entry of Deno.readDir(folder)) {
    const url = new URL(entry.isDirectory ? `${entry.name}/` : entry.name, folder);
    if (entry.isDirectory) yield* typeScriptFiles(url);
    else if (entry.name.endsWith(".ts")) yield url;
  }
}

if (import.meta.main) {
  const wrong = await findWrongImports(new URL("../../", import.meta.url));
  for (const { file, target, room } of wrong) {
    console.error(`${file} imports ${target}: its room may not import ${room}`);
  }
  if (wrong.length > 0) Deno.exit(1);
}
