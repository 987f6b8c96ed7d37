/** The inverse of the normal distribution function, for drawing normal numbers one word at a time. */

// Coefficients of M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution",
// Applied Statistics 37 (1988), PPND16; lowest power first.
const MIDDLE_TOP = [
  3.3871328727963666080e0,
  1.3314166789178437745e2,
  1.9715909503065514427e3,
  1.3731693765509461125e4,
  4.5921953931549871457e4,
  6.7265770927008700853e4,
  3.3430575583588128105e4,
  2.5090809287301226727e3,
];
const MIDDLE_BOTTOM = [
  1,
  4.2313330701600911252e1,
  6.8718700749205790830e2,
  5.3941960214247511077e3,
  2.1213794301586595867e4,
  3.9307895800092710610e4,
  2.8729085735721942674e4,
  5.2264952788528545610e3,
];
const TAIL_TOP = [
  1.42343711074968357734e0,
  4.63033784615654529590e0,
  5.76949722146069140550e0,
  3.64784832476320460504e0,
  1.27045825245236838258e0,
  2.41780725177450611770e-1,
  2.27238449892691845833e-2,
  7.74545014278341407640e-4,
];
const TAIL_BOTTOM = [
  1,
  2.05319162663775882187e0,
  1.67638483018380384940e0,
  6.89767334985100004550e-1,
  1.48103976427480074590e-1,
  1.51986665636164571966e-2,
  5.47593808499534494600e-4,
  1.05075007164441684324e-9,
];

/** `sqrt(-log(p))` up to which the tail's rational function holds. */
const TAIL_END = 5;

/**
 * The number below which a standard normal variable lies with chance `p`. Relative error about 1e-15.
 *
 * @throws {RangeError} For `p` outside [1.4e-11, 1 - 1.4e-11], farther out than 32 random bits reach.
 */
export function normalQuantile(p: number): number {
  const centred = p - 0.5;
  if (Math.abs(centred) <= 0.425) {
    const square = 0.180625 - centred * centred;
    return centred * polynomial(MIDDLE_TOP, square) / polynomial(MIDDLE_BOTTOM, square);
  }
  const distance = Math.sqrt(-Math.log(centred < 0 ? p : 1 - p));
  if (!(distance <= TAIL_END)) {
    throw new RangeError(
      `Cannot invert the normal distribution at ${p}: wanted 1.4e-11 from 0 and 1`,
    );
  }
  const magnitude = polynomial(TAIL_TOP, distance - 1.6) / polynomial(TAIL_BOTTOM, distance - 1.6);
  return centred < 0 ? -magnitude : magnitude;
}

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
}
