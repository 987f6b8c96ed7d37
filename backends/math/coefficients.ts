/** Coefficients, lowest power first, as `derive_coefficients.ts` prints them. */

/** `(exp(r) - 1 - r) / r^2` for |r| <= ln 2; relative error of exp 1.4e-8. */
export const EXP = [
  0.500000358,
  0.16666615,
  0.0416612774,
  0.00833609793,
  0.00141042634,
  0.000196118533,
];

/** `(log(1 + f) - f + f^2/2) / f^3` for sqrt(1/2) <= 1 + f <= sqrt(2); relative error 5.8e-9. */
export const LOG = [
  0.333333313,
  -0.250008196,
  0.200012267,
  -0.166233569,
  0.142017588,
  -0.13160187,
  0.127615675,
  -0.0763447434,
];

/** `(sin(r)/r - 1) / r^2` in r^2 for |r| <= pi/4; relative error 3.6e-9. */
export const SIN = [-0.166666552, 0.00833217613, -0.000195169778];

/** `(cos(r) - 1 + r^2/2) / r^4` in r^2 for |r| <= pi/4; error 9.6e-11. */
export const COS = [0.0416666456, -0.00138873642, 0.0000244380899];

/** `log(1 - erf(x)) / x` for 0 <= x <= 3.95; relative error of erf 4.0e-9. */
export const LOG_ERFC = [
  -1.12837923,
  -0.636619389,
  -0.102777831,
  0.019153066,
  0.000160391763,
  -0.00166702259,
  0.00063283398,
  -0.000117640433,
  0.00000925616951,
];

/** ln 2 in two parts; the first has 9 bits, so that its product with a small whole number is exact. */
export const LN2_HIGH = Math.round(Math.LN2 * 512) / 512;
export const LN2_LOW = Math.LN2 - LN2_HIGH;
