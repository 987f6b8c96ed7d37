/** Settings of Fovea in the benchmark. */

/** Results are views, and inputs are not looked through for NaN: peers do not look either. */
export const LEAN = "results in place, inputs unchecked";
/** What a user has who asks for nothing. */
export const USUAL = "results copied, inputs checked";
/** Each step of a forward pass is timed by itself, on one thread. */
export const STEP_BY_STEP = "step by step";
