/** A process that runs one system: it answers the benchmark's requests and ends with its input. */
import process from "node:process";
import { createInterface } from "node:readline";
import { answer } from "./answer.ts";
import type { MeasuredRun } from "./measured_run.ts";
import type { Reply, ReplyOf, Request, StartMessage } from "./messages.ts";
import { peakBytes } from "./process_memory.ts";

/** A system that is ready for requests. */
export interface Answering {
  readonly ready: Omit<ReplyOf<"ready">, "kind">;
  answer(request: Request): Promise<Reply>;
}

/** Serves what the process's first argument says until standard input ends, and then the process ends. */
export async function serve(start: (message: StartMessage) => Promise<Answering>): Promise<never> {
  try {
    // Written by contender.ts, as are the requests.
    const system = await start(JSON.parse(process.argv[2] ?? "") as StartMessage);
    reply({ kind: "ready", ...system.ready });
    for await (const line of createInterface({ input: process.stdin })) {
      reply(await system.answer(JSON.parse(line) as Request));
    }
  } catch (error) {
    reply({
      kind: "error",
      message: error instanceof Error ? error.stack ?? error.message : `${error}`,
    });
  }
  // The systems' worker threads would keep the process alive.
  return process.exit();
}

function reply(message: Reply): void {
  console.log(JSON.stringify(message));
}

/** A system that runs in this process. */
export function inThisProcess(run: MeasuredRun): Answering {
  const { setting, startUp, lowerBoundBytes } = run;
  return {
    ready: {
      setting,
      runtime: runtimeName(),
      ...(startUp === undefined ? {} : { startUp }),
      ...(lowerBoundBytes === undefined ? {} : { lowerBoundBytes }),
    },
    answer: (request) => answer(run, request, peakBytes),
  };
}

const REVECTORIZE = "--experimental-wasm-revectorize";

/** `deno 2.9.6`, or `node 26.1.0 revectorize` with V8's revectoriser on. */
function runtimeName(): string {
  if ("Deno" in globalThis) return `deno ${Deno.version.deno}`;
  return `node ${process.versions.node}${
    process.execArgv.includes(REVECTORIZE) ? " revectorize" : ""
  }`;
}
