/** A process that runs one system: it answers the benchmark's requests and ends with its input. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fold } from "./agreement.ts";
import type { MeasuredRun } from "./measured_run.ts";
import type { Reply, Request, StartMessage } from "./messages.ts";
import { timedRound, warmUp, warmUpFor } from "./timing.ts";

/** Starts a system, in the process that calls. */
export type Start = (message: StartMessage) => Promise<MeasuredRun>;

/** Serves what the process's first argument says until standard input ends, and then the process ends. */
export async function serve(start: Start): Promise<never> {
  try {
    // Written by contender.ts, as are the requests.
    const run = await start(JSON.parse(process.argv[2] ?? "") as StartMessage);
    const { setting, startUp, lowerBoundBytes } = run;
    reply({
      kind: "ready",
      setting,
      runtime: runtimeName(),
      ...(startUp === undefined ? {} : { startUp }),
      ...(lowerBoundBytes === undefined ? {} : { lowerBoundBytes }),
    });
    for await (const line of createInterface({ input: process.stdin })) {
      const message = await answer(run, JSON.parse(line) as Request);
      await run.settle?.();
      reply(message);
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

async function answer(run: MeasuredRun, request: Request): Promise<Reply> {
  const step = () => run.step();
  switch (request.kind) {
    case "check":
      return { kind: "check", values: await results(run, request.steps) };
    case "first": {
      const [milliseconds = NaN] = await timedRound(step, 0);
      return { kind: "first", milliseconds, peakBytes: peakBytes() };
    }
    case "warm":
      return { kind: "warm", ...await warmUp(step, warmUpFor(request.duration)) };
    case "round": {
      await timedRound(step, request.leadIn);
      const times = await timedRound(step, request.duration);
      return { kind: "round", times, peakBytes: peakBytes() };
    }
    case "classes": {
      if (run.classTimes === undefined) throw new TypeError("It does not time steps one by one");
      return { kind: "classes", times: run.classTimes() };
    }
  }
}

/** Results of a few steps, one after the other, folded to a length that messages can take. */
async function results(run: MeasuredRun, steps: number): Promise<number[]> {
  const values: number[] = [];
  for (let index = 0; index < steps; index++) values.push(...fold(await run.step()));
  return values;
}

/**
 * The most memory that the process has had. Linux counts that afresh for each program that is started;
 * what `getrusage` gives may be that of the process which started this one.
 */
function peakBytes(): number {
  if (process.platform === "linux") {
    const line = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    if (line !== null) return Number(line[1]) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}

const REVECTORIZE = "--experimental-wasm-revectorize";

/** `deno 2.9.6`, or `node 26.1.0 revectorize` with V8's revectoriser on. */
function runtimeName(): string {
  if ("Deno" in globalThis) return `deno ${Deno.version.deno}`;
  return `node ${process.versions.node}${
    process.execArgv.includes(REVECTORIZE) ? " revectorize" : ""
  }`;
}
