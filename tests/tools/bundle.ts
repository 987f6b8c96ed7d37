/**
 * Makes one file of a module and all that it imports, the backend's workers included, for Deno,
 * Node.js and browsers; and says how large it is.
 *
 *     deno task bundle [--out dist/inference.js]
 *     deno task bundle --entry page.ts --out dist/page.js
 *
 * The second bundles a script that trains or runs on WebGPU, whose imports are `@fovea/fovea/...`.
 */
import * as esbuild from "esbuild";
import { gzipSync } from "node:zlib";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import project from "../../deno.json" with { type: "json" };

/** The modules that run a trained model: `@fovea/fovea/inference`. */
export const INFERENCE = new URL("../../models/inference.ts", import.meta.url);
const WORKER = new URL("../../backends/wasm/worker.ts", import.meta.url);

/** What Node.js 20 reads, and browsers since 2023, which have WebAssembly SIMD and module workers. */
const TARGET = "es2022";

/** The project's own modules, by the names that scripts import them under. */
const ALIASES = Object.fromEntries(
  Object.entries(project.exports).map(([name, path]) => [`${project.name}${name.slice(1)}`, path]),
);

/** A module in one file. */
export interface Bundle {
  /** JavaScript, an ES module, without comments and long names. */
  readonly text: string;
  readonly bytes: number;
  /** Bytes as a server sends them: gzip at its default level. */
  readonly gzipBytes: number;
  /** What it imports; empty where it runs alone. */
  readonly imports: readonly string[];
  /** Bytes of the text that each folder or package brings, largest first. */
  readonly parts: readonly (readonly [name: string, bytes: number])[];
}

/**
 * Bundles a module. Needs permission to run esbuild, and to read the environment and files.
 *
 * @param external Packages that are imported when the bundle runs.
 * @throws {Error} When a module cannot be read or resolved.
 */
export async function buildBundle(
  entry: URL = INFERENCE,
  external: readonly string[] = [],
): Promise<Bundle> {
  try {
    // Whoever bundles something else may train.
    const plugins = entry.href === INFERENCE.href ? [shortRecords, withoutTraining] : [];
    const worker = await buildText(WORKER, { plugins, legalComments: "none" });
    const define = { FOVEA_WORKER_SOURCE: JSON.stringify(worker.text) };
    return await buildText(entry, { define, plugins, external });
  } finally {
    await esbuild.stop();
  }
}

interface BuildOptions {
  readonly define?: Record<string, string>;
  readonly plugins?: readonly esbuild.Plugin[];
  readonly external?: readonly string[];
  /** Where licenses stand: what is part of a file need not repeat those at its end. */
  readonly legalComments?: "eof" | "none";
}

async function buildText(
  entry: URL,
  { define = {}, plugins = [], external = [], legalComments = "eof" }: BuildOptions,
): Promise<Bundle> {
  const { outputFiles, metafile } = await esbuild.build({
    entryPoints: [fileURLToPath(entry)],
    absWorkingDir: fileURLToPath(new URL("../../", import.meta.url)),
    alias: ALIASES,
    bundle: true,
    define,
    external: ["node:*", ...external],
    format: "esm",
    legalComments,
    metafile: true,
    minify: true,
    platform: "browser",
    plugins: [...plugins],
    target: TARGET,
    write: false,
  });
  const [file] = outputFiles;
  const [output] = Object.values(metafile.outputs);
  if (file === undefined || output === undefined) throw new Error(`${entry} gave no output`);
  return {
    text: file.text,
    bytes: file.contents.byteLength,
    gzipBytes: gzipSync(file.contents).byteLength,
    imports: output.imports.map(({ path }) => path),
    parts: partsOf(output.inputs),
  };
}

/** What op records say about themselves is for people, and nothing that runs reads it. */
const DOC_FIELD = /^ +doc:(?:\s+"(?:[^"\\\n]|\\.)*"(?: \+)?)+,\n/gm;

/**
 * A function in an op record, as the formatter writes it: to the lines further in, and the one that
 * closes it.
 */
const GRADIENT_FIELD = /^( +)vjp: \(.*=>.*\n(?:\1 .*\n)*(?:\1[})\]].*\n)?/gm;
const EVALUATION_FIELD = /^( +)reference: \(.*=>.*\n(?:\1 .*\n)*(?:\1[})\]].*\n)?/gm;

/** An op's definition, which has no effect but its record: an op that nothing uses is left out. */
const DEFINITION = /^((?:export )?const \w+ = )(?=\w+[<(])/gm;

/** Ops that the compiler evaluates, to fold constants: elementwise ones and reductions. */
const FOLDED_OPS = /[\\/](?:binary|convert|reduce|threefry|unary)\.ts$/;

/** Op records without what inference never reads: it differentiates nothing and has no oracle. */
const shortRecords: esbuild.Plugin = {
  name: "short records",
  setup: (build) =>
    build.onLoad({ filter: /[\\/]graph[\\/]ops[\\/]\w+\.ts$/ }, async ({ path }) => {
      const source = await Deno.readTextFile(path);
      const contents = source.replace(DOC_FIELD, "").replace(GRADIENT_FIELD, "")
        .replace(DEFINITION, "$1/* @__PURE__ */ ");
      return {
        contents: FOLDED_OPS.test(path) ? contents : contents.replace(EVALUATION_FIELD, ""),
        loader: "ts",
      };
    }),
};

/** Inference differentiates nothing, so that no kernel is a gradient's, and updates no parameters. */
const withoutTraining: esbuild.Plugin = {
  name: "without training",
  setup: (build) =>
    build.onResolve(
      { filter: /\/(?:attention_grad|group_kernels)\.ts$/ },
      ({ path, resolveDir }) => ({
        path: join(resolveDir, path).replace(/(\w+\.ts)$/, "no_$1"),
      }),
    ),
};

function partsOf(inputs: Readonly<Record<string, { bytesInOutput: number }>>): Bundle["parts"] {
  const parts = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const name = partOf(path);
    parts.set(name, (parts.get(name) ?? 0) + bytesInOutput);
  }
  return [...parts].sort(([, a], [, b]) => b - a);
}

/** `backends/wasm` of `backends/wasm/templates/matmul.ts`, and a package's name. */
function partOf(path: string): string {
  const folders = path.split("/").slice(0, -1);
  const modules = folders.lastIndexOf("node_modules");
  return modules < 0 ? folders.slice(0, 2).join("/") : folders[modules + 1] ?? path;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      entry: { type: "string", default: fileURLToPath(INFERENCE) },
      out: { type: "string", default: "dist/inference.js" },
    },
  });
  const out = pathToFileURL(resolve(values.out));
  const { text, bytes, gzipBytes, parts } = await buildBundle(pathToFileURL(resolve(values.entry)));
  await Deno.mkdir(new URL(".", out), { recursive: true });
  await Deno.writeTextFile(out, text);
  for (const [name, size] of parts) console.log(`${kilobytes(size).padStart(10)}  ${name}`);
  console.log(`${values.out}: ${kilobytes(bytes)}, gzip ${kilobytes(gzipBytes)}`);
}
