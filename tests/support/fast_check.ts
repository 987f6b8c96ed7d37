/**
 * fast-check with a fixed seed, so that the gate's answer depends on the code alone. To look further:
 *
 *     FOVEA_SEED=$RANDOM deno task test
 */
import fc from "fast-check";

const DEFAULT_SEED = 20261121;

const given = Deno.env.get("FOVEA_SEED");
const seed = given === undefined ? DEFAULT_SEED : Number(given);
if (!Number.isInteger(seed)) {
  throw new RangeError(`FOVEA_SEED is "${given}": wanted a whole number`);
}
fc.configureGlobal({ seed });

export { default } from "fast-check";
