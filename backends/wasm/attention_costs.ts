/**
 * What attention costs on WebAssembly, measured: `bench/attention_costs.ts` prints these. What counts
 * is their ratio, which differs less between machines than they do.
 */
import type { AttentionCosts } from "../../compiler/attention_costs.ts";

/**
 * Seconds on one thread. Over 192 sizes from 1 to 577 queries, the form that they choose was slower
 * than the faster one by 2 % on average, one kernel for all by 21 %: few queries leave its register
 * tiles half empty, and its gradient computes scores again, for few batch entries twice.
 */
export const WASM_ATTENTION_COSTS: AttentionCosts = [
  {
    isTrained: false,
    queries: 1,
    fused: { call: 3.62e-7, product: 3.1e-10, score: 0 },
    plain: { call: 4.82e-7, product: 2.02e-10, score: 0 },
  },
  {
    isTrained: false,
    queries: 3,
    fused: { call: 1.34e-6, product: 1.3e-10, score: 0 },
    plain: { call: 9.81e-7, product: 1.19e-10, score: 0 },
  },
  {
    isTrained: false,
    fused: { call: 3.3e-6, product: 4.58e-11, score: 7.09e-10 },
    plain: { call: 3.05e-6, product: 4.67e-11, score: 9.79e-10 },
  },
  {
    isTrained: true,
    entries: 3,
    fused: { call: 1.65e-5, product: 1.93e-10, score: 2.63e-9 },
    plain: { call: 9.28e-6, product: 1.48e-10, score: 3.96e-10 },
  },
  {
    isTrained: true,
    queries: 3,
    fused: { call: 7.64e-6, product: 6.05e-10, score: 0 },
    plain: { call: 1.16e-7, product: 4.8e-10, score: 0 },
  },
  {
    isTrained: true,
    fused: { call: 4.25e-5, product: 1.83e-10, score: 3.54e-10 },
    plain: { call: 2.07e-5, product: 1.64e-10, score: 3.3e-10 },
  },
];
