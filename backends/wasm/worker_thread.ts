/**
 * Starts a worker in Deno, Node.js or a browser. Where `node:worker_threads` exists it is used: its
 * workers can be unreferenced, so that a parked worker does not keep a finished process alive.
 */
import type { Endpoint } from "comlink";
import { nodeEndpoint, nodeThreads, type NodeWorker } from "./host.ts";

/** A started worker, whatever the platform. */
export interface WorkerThread {
  /** What Comlink talks through. */
  readonly endpoint: Endpoint;
  /** Whether the worker keeps the process alive; it does at first. */
  keepAlive(keep: boolean): void;
  terminate(): void;
}

/** Called when the worker could not start, threw, or ended by itself. */
export type OnWorkerFailure = (reason: string) => void;

/** A bundle's build puts the text of the bundled `worker.ts` in its place. */
declare const FOVEA_WORKER_SOURCE: string | undefined;

let bundledUrl: URL | undefined;

/** The module of the backend's workers: the file beside this one, or a bundle's own copy of it. */
export function workerUrl(): URL {
  if (typeof FOVEA_WORKER_SOURCE === "undefined") return new URL("./worker.ts", import.meta.url);
  return bundledUrl ??= urlOf(FOVEA_WORKER_SOURCE);
}

/** Node.js and Deno start threads from `data:`; a browser's would not be of the page's origin. */
function urlOf(source: string): URL {
  const type = "text/javascript";
  return nodeThreads() === undefined
    ? new URL(URL.createObjectURL(new Blob([source], { type })))
    : new URL(`data:${type},${encodeURIComponent(source)}`);
}

/** Starts the module at `url` in a thread of its own. */
export function startWorkerThread(url: URL, onFailure: OnWorkerFailure): WorkerThread {
  const threads = nodeThreads();
  return threads === undefined
    ? startWebWorker(url, onFailure)
    // Without an environment of its own it would copy ours, for which Deno asks a permission.
    : startNodeWorker(new threads.Worker(url, { env: {} }), onFailure);
}

function startNodeWorker(worker: NodeWorker, onFailure: OnWorkerFailure): WorkerThread {
  let ended = false;
  worker.on("error", (error) => onFailure(error instanceof Error ? error.message : String(error)));
  worker.on("messageerror", (error) => onFailure(`a message could not be read: ${error}`));
  worker.on("exit", (code) => {
    if (!ended) onFailure(`it ended with code ${code}`);
  });
  return {
    endpoint: nodeEndpoint(worker),
    keepAlive: (keep) => keep ? worker.ref() : worker.unref(),
    terminate: () => {
      ended = true;
      worker.terminate();
    },
  };
}

function startWebWorker(url: URL, onFailure: OnWorkerFailure): WorkerThread {
  const worker = new Worker(url, { type: "module" });
  worker.addEventListener("error", (event) => {
    // Reported through `onFailure`; without this it would also end a Deno process.
    event.preventDefault();
    onFailure(event.message ?? "it could not be loaded");
  });
  worker.addEventListener("messageerror", () => onFailure("a message could not be read"));
  return { endpoint: worker, keepAlive: () => {}, terminate: () => worker.terminate() };
}
