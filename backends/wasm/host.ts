/** What Deno, Node.js and browsers do differently. Nothing else of the backend asks where it runs. */
import type { Endpoint } from "comlink";

type Listener = (value: unknown) => void;

/** A port of `node:worker_threads`, as it is used here. */
export interface NodePort {
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  on(event: string, listener: Listener): void;
  off(event: string, listener: Listener): void;
}

/** A worker of `node:worker_threads`, as it is used here. */
export interface NodeWorker extends NodePort {
  ref(): void;
  unref(): void;
  terminate(): unknown;
}

/** `node:worker_threads`, as it is used here. */
export interface NodeThreads {
  readonly Worker: new (url: URL, options: { env: Record<string, string> }) => NodeWorker;
  /** In a worker: the port to the thread that started it. */
  readonly parentPort: NodePort | null;
}

interface Host {
  readonly process?: { getBuiltinModule?(name: string): unknown };
  readonly navigator?: { readonly hardwareConcurrency?: number };
  readonly Deno?: { unrefTimer?(id: number): void };
}

const host: Host = globalThis;

function builtin(name: string): unknown {
  return host.process?.getBuiltinModule?.(name);
}

/** `node:worker_threads` where it exists: in Deno and Node.js. */
export function nodeThreads(): NodeThreads | undefined {
  // The type says what the module has; a browser has none.
  return builtin("node:worker_threads") as NodeThreads | undefined;
}

/** Threads that run at the same time here; 1 where that cannot be known. */
export function processors(): number {
  // Node.js has `navigator` only since version 21.
  const os = builtin("node:os") as { availableParallelism(): number } | undefined;
  return host.navigator?.hardwareConcurrency ?? os?.availableParallelism() ?? 1;
}

/** Lets the process end although the timer has not gone off; a page ends without asking. */
export function unreferenceTimer(timer: unknown): void {
  if (typeof timer === "number") host.Deno?.unrefTimer?.(timer);
  else (timer as { unref(): void }).unref();
}

/** Comlink listens for events with `data`; a Node port emits the data itself. */
export function nodeEndpoint(port: NodePort): Endpoint {
  const listeners = new Map<unknown, Listener>();
  return {
    postMessage: (message, transfer) => port.postMessage(message, transfer),
    addEventListener: (type, listener) => {
      const listen: Listener = (data) => {
        const event = new MessageEvent(type, { data });
        if ("handleEvent" in listener) listener.handleEvent(event);
        else listener(event);
      };
      listeners.set(listener, listen);
      port.on(type, listen);
    },
    removeEventListener: (type, listener) => {
      const listen = listeners.get(listener);
      if (listen !== undefined) port.off(type, listen);
      listeners.delete(listener);
    },
  };
}
