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

/** `(tanh(x)/x - 1) / x^2` in x^2 for |x| <= 0.625; relative error of tanh 4.1e-9. */
export const TANH = [-0.333332837, 0.133314908, -0.0537434965, 0.0206505805, -0.00571703818];

/** `erf(x)/x` in x^2 for |x| <= 0.9; relative error 1.1e-8. */
export const ERF = [
  1.12837911,
  -0.376125336,
  0.112822302,
  -0.0267819576,
  0.00501622865,
  -0.000611129333,
];

/** `log(1 - erf(x))` for 0.9 <= x <= 3.95; error of erf 1.6e-9. */
export const LOG_ERFC = [
  -0.000177498179,
  -1.12774956,
  -0.637059808,
  -0.104037337,
  0.0222770758,
  -0.00305560487,
  0.000197181449,
];
