/** Settings of Fovea in the benchmark: their names are lists of these. */

/** Results are views, and inputs are not looked through for NaN: peers do not look either. */
export const LEAN = "results in place, inputs unchecked";
/** What a user has who asks for nothing. */
export const USUAL = "results copied, inputs checked";
/** Each step of a forward pass is timed by itself, on one thread. */
export const STEP_BY_STEP = "step by step";

/** On WebGPU: which tiles matmuls are fastest in is measured when the program is compiled. */
const TUNED = "tiles measured";
/** On WebGPU: sizes decide on tiles. */
const UNTUNED = "tiles by size";

/** The names on WebGPU of what may be done so otherwise: that with tiles measured comes first. */
export function withTiles(setting: string): string[] {
  return [TUNED, UNTUNED].map((tiles) => `${setting}, ${tiles}`);
}

/** Whether tiles are measured. */
export function isTuned(setting: string): boolean {
  return setting.endsWith(TUNED);
}

/** Whether nothing is done that peers do not. */
export function isLean(setting: string): boolean {
  return setting.startsWith(LEAN);
}
