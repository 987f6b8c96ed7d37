/**
 * Trains the same ViTs on Fovea and on its peers, in one run, in turns, and compares their speed.
 *
 *     deno task bench
 *     deno task bench --json --only vit-small --systems fovea,@jax-js/jax --threads 2
 *
 * Expected: the machine's multiply-add peak, then a table for each work. It fails when the systems' losses
 * differ: then they do not compute the same thing.
 */
import { HELP, type Options, readOptions, UsageError } from "./arguments.ts";
import { ContenderError } from "./contender.ts";
import { LossMismatchError } from "./loss_check.ts";
import { compareTraining, type MeasureOptions } from "./measure.ts";
import { measurePeaks, type Peak } from "./peak.ts";
import {
  comparisonNotes,
  comparisonRecords,
  comparisonText,
  peakRecords,
  peakText,
} from "./report.ts";

async function bench({ json, works, systems, threads, seconds }: Options): Promise<void> {
  const options: MeasureOptions = {
    systems,
    threads,
    milliseconds: seconds * 1000,
    progress: showProgress,
  };
  let peaks: readonly Peak[] = [];
  for (const work of works) {
    if (work.suite === "machine") {
      peaks = await measurePeaks(work, options);
      print(json ? peakRecords(work, peaks) : peakText(work, peaks));
      continue;
    }
    const comparison = await compareTraining(work, options);
    print(json ? comparisonRecords(comparison) : comparisonText(comparison, peaks));
    if (json) console.error(comparisonNotes(comparison));
  }
}

/** What is under way, on standard error: only for eyes, and gone with the next text. */
function showProgress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

function print(output: string | readonly object[]): void {
  showProgress("");
  if (typeof output === "string") return console.log(output);
  for (const record of output) console.log(JSON.stringify(record));
}

if (import.meta.main) {
  try {
    const options = readOptions(Deno.args, navigator.hardwareConcurrency);
    if (options === undefined) console.log(HELP);
    else await bench(options);
  } catch (error) {
    showProgress("");
    const isExpected = error instanceof UsageError || error instanceof ContenderError ||
      error instanceof LossMismatchError;
    if (!isExpected) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
