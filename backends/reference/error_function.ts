/** The error function in double precision. */

/**
 * `erf(x)` to about 1e-15: the series of positive terms
 * `2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!` below 3 (Abramowitz and Stegun 7.1.6), and the
 * continued fraction of `erfc` (7.1.14) above.
 */
export function erf(x: number): number {
  if (Number.isNaN(x) || x === 0) return x;
  const magnitude = Math.abs(x);
  if (magnitude > 6) return Math.sign(x);
  const square = x * x;
  if (magnitude < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-18; n++) {
      term *= 2 * square / (2 * n + 1);
      sum += term;
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-square) * sum;
  }
  let fraction = magnitude;
  for (let n = 60; n >= 1; n--) fraction = magnitude + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-square) / (Math.sqrt(Math.PI) * fraction));
}
