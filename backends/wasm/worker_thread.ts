/**
 * Starts a worker in Deno, Node.js or a browser. Where `node:worker_threads` exists it is used: its
 * workers can be unreferenced, so that a parked worker does not keep a finished process alive.
 */
import type { Endpoint } from "comlink";

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

type Listener = (value: unknown) => void;

/** The part of a `node:worker_threads` worker that is used here. */
interface NodeWorker {
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  on(event: string, listener: Listener): void;
  off(event: string, listener: Listener): void;
  ref(): void;
  unref(): void;
  terminate(): unknown;
}

interface NodeProcess {
  getBuiltinModule?: (
    name: string,
  ) =>
    | { Worker: new (url: URL, options: { env: Record<string, string> }) => NodeWorker }
    | undefined;
}

/** Starts the module at `url` in a thread of its own. */
export function startWorkerThread(url: URL, onFailure: OnWorkerFailure): WorkerThread {
  const { process } = globalThis as { process?: NodeProcess };
  const threads = process?.getBuiltinModule?.("node:worker_threads");
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

/** Comlink listens for events with `data`; a Node worker emits the data itself. */
function nodeEndpoint(worker: NodeWorker): Endpoint {
  const listeners = new Map<unknown, Listener>();
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    addEventListener: (type, listener) => {
      const listen: Listener = (data) => {
        const event = new MessageEvent(type, { data });
        if ("handleEvent" in listener) listener.handleEvent(event);
        else listener(event);
      };
      listeners.set(listener, listen);
      worker.on(type, listen);
    },
    removeEventListener: (type, listener) => {
      const listen = listeners.get(listener);
      if (listen !== undefined) worker.off(type, listen);
      listeners.delete(listener);
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
