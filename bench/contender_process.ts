/**
 * A process that runs one system, so that systems share neither memory nor an engine. Started by
 * contender.ts.
 */
import type { StartMessage } from "./messages.ts";
import { type Answering, inThisProcess, serve } from "./serve.ts";
import { startSystem } from "./start.ts";

/** The system in this process, or in the browser that it is to be measured in. */
async function open(start: StartMessage): Promise<Answering> {
  const { work, inChromium } = start;
  if (!inChromium) return inThisProcess(await startSystem(start));
  if (work.suite !== "matmul" && work.suite !== "forward") {
    throw new RangeError(`"${work.name}" is not measured in Chromium`);
  }
  const { startInChromium } = await import("./chromium/drive.ts");
  return await startInChromium(work, start);
}

if (import.meta.main) await serve(open);
