/** Answering the benchmark's requests, wherever the system runs: in a process, or in a page. */
import { fold } from "./agreement.ts";
import { timeHost } from "./host_time.ts";
import type { MeasuredRun } from "./measured_run.ts";
import type { Reply, Request } from "./messages.ts";
import { timedRound, warmUp, warmUpFor } from "./timing.ts";

/** Does what is asked for; `peakBytes` tells the most memory that the system has had. */
export async function answer(
  run: MeasuredRun,
  request: Request,
  peakBytes: () => number,
): Promise<Reply> {
  const reply = await answerNow(run, request, peakBytes);
  await run.settle?.();
  return reply;
}

async function answerNow(
  run: MeasuredRun,
  request: Request,
  peakBytes: () => number,
): Promise<Reply> {
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
      if (request.leadIn > 0) await timedRound(step, request.leadIn);
      const times = await timedRound(step, request.duration);
      return { kind: "round", times, peakBytes: peakBytes() };
    }
    case "host":
      return { kind: "host", ...await timeHost(step, request.duration) };
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
