/** How much memory a process takes that runs a whole ViT-B/16. */
import { assert } from "../support/assert.ts";

/** What the project promises: so many times the weights, with the activations at their lower bound. */
const TIMES_WEIGHTS = 1.5;

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

for (const batch of [1, 8]) {
  Deno.test({
    name: `ViT-B/16 with weights from a stream, batch ${batch}: the process's peak memory`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      const script = new URL("./peak_of_forward.ts", import.meta.url);
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--no-check", "--allow-all", script.href, `${batch}`],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const { peakBytes, weightBytes, lowerBoundBytes } = JSON.parse(
        new TextDecoder().decode(stdout),
      );
      // The process cannot run the model with less: a figure below is not its peak.
      assert(peakBytes > lowerBoundBytes, mebibytes(peakBytes));
      const allowed = TIMES_WEIGHTS * weightBytes + (lowerBoundBytes - weightBytes);
      assert(peakBytes <= allowed, `${mebibytes(peakBytes)} of ${mebibytes(allowed)}`);
    },
  });
}
