/**
 * Threads for TensorFlow.js's WASM backend outside of browsers, where it turns them off. Its workers'
 * scripts are blobs; Deno's worker threads want files, and say no to some of what the scripts assume.
 */
import { writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";

/** Lets its worker script run in a worker of Deno's, `main` being the path of the main script. */
function workerPrelude(main: string): string {
  return `
    for (const name of ["location", "self", "Worker", "performance", "importScripts", "postMessage"]) {
      const value = globalThis[name];
      Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
    }
    URL.createObjectURL = () => ${JSON.stringify(main)};
    URL.revokeObjectURL = () => {};
    Object.assign(globalThis, {
      require$$0: require("fs"),
      require$$1: require("path"),
      require$$2: require("worker_threads"),
      require$$3: require("perf_hooks"),
      require$$4: require("os"),
      commonjsGlobal: globalThis,
      __dirname,
    });
  `;
}

const MAIN_SCRIPT = "var WasmBackendModuleThreadedSimd";

/**
 * Runs `start`, in which the backend is loaded, so that it gets its worker threads.
 *
 * @param folder Where the scripts are written.
 */
export async function withWorkerScripts(
  folder: string,
  threads: number,
  start: () => Promise<void>,
): Promise<void> {
  const original = { Blob: globalThis.Blob, createObjectURL: URL.createObjectURL, cpus: os.cpus };
  const main = join(folder, "tfjs_main.cjs");
  const texts = new Map<Blob, string>();
  class RecordedBlob extends original.Blob {
    constructor(parts: string[], options?: BlobPropertyBag) {
      super(parts, options);
      const text = parts.join("");
      texts.set(this, text);
      if (text.startsWith(MAIN_SCRIPT)) writeFileSync(main, text);
    }
  }
  Object.assign(globalThis, { Blob: RecordedBlob });
  let scripts = 0;
  URL.createObjectURL = (blob) => {
    // A file for each: another worker may be reading the one before.
    const worker = join(folder, `tfjs_worker_${++scripts}.cjs`);
    writeFileSync(worker, workerPrelude(main) + (texts.get(blob as Blob) ?? ""));
    return worker;
  };
  // It uses half of the processors at most.
  const [processor] = os.cpus();
  os.cpus = () => new Array(2 * threads).fill(processor);
  try {
    await start();
  } finally {
    Object.assign(globalThis, { Blob: original.Blob });
    Object.assign(URL, { createObjectURL: original.createObjectURL });
    os.cpus = original.cpus;
  }
}
