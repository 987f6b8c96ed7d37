/**
 * A process that runs one system, so that systems share neither memory nor an engine. Started by
 * contender.ts; it answers requests on standard output and ends with its input.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import type { MeasuredRun } from "./measured_run.ts";
import type { Reply, Request, StartMessage } from "./messages.ts";
import { systemNamed } from "./systems.ts";
import { timedRound, warmUp } from "./timing.ts";
import { workNamed } from "./works.ts";

function reply(message: Reply): void {
  console.log(JSON.stringify(message));
}

async function answer(run: MeasuredRun, request: Request): Promise<Reply> {
  const step = () => run.step();
  switch (request.kind) {
    case "check": {
      const values: number[] = [];
      for (let index = 0; index < request.steps; index++) values.push(await run.step());
      return { kind: "check", values };
    }
    case "warm":
      return { kind: "warm", stable: await warmUp(step) };
    case "round": {
      const times = await timedRound(step, request.duration);
      return { kind: "round", times, peakBytes: process.resourceUsage().maxRSS * 1024 };
    }
  }
}

async function serve(): Promise<void> {
  // Written by contender.ts, as are the requests.
  const { work, system, threads, setting } = JSON.parse(Deno.args[0] ?? "") as StartMessage;
  const run = await systemNamed(system).start(workNamed(work), threads, setting);
  reply({ kind: "ready", setting: run.setting });
  for await (const line of createInterface({ input: process.stdin })) {
    reply(await answer(run, JSON.parse(line) as Request));
  }
}

if (import.meta.main) {
  try {
    await serve();
  } catch (error) {
    reply({
      kind: "error",
      message: error instanceof Error ? error.stack ?? error.message : `${error}`,
    });
  }
  // The systems' worker threads would keep the process alive.
  Deno.exit();
}
