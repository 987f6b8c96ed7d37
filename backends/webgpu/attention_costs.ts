/**
 * What attention costs on drivers in software, measured on Mesa's llvmpipe with two cores:
 * `bench/attention_costs.ts --backend webgpu` prints these. On a GPU tuning measures both forms, where it
 * may; otherwise attention is one kernel there, since that stores no scores.
 */
import type { AttentionCosts } from "../../compiler/attention_costs.ts";

/**
 * Seconds by the device's clock. Over 192 sizes from 1 to 577 queries, the form that they choose was
 * slower than the faster one by 2 % on average, one kernel for all by 220 %: products have tiles in which
 * lanes share what they load, and a driver in software has to load one by one what attention's tiles read.
 */
export const SOFTWARE_ATTENTION_COSTS: AttentionCosts = [
  {
    isTrained: false,
    queries: 1,
    fused: { call: 1.12e-4, product: 7.46e-9, score: 0 },
    plain: { call: 1.94e-4, product: 1.7e-9, score: 0 },
  },
  {
    isTrained: false,
    queries: 3,
    fused: { call: 8.22e-5, product: 2.51e-9, score: 0 },
    plain: { call: 1.69e-4, product: 1.02e-9, score: 0 },
  },
  {
    isTrained: false,
    fused: { call: 1.82e-4, product: 6.78e-10, score: 3.08e-11 },
    plain: { call: 3.47e-4, product: 1.08e-10, score: 1.75e-8 },
  },
  {
    isTrained: true,
    entries: 3,
    fused: { call: 5.47e-4, product: 3.59e-9, score: 0 },
    plain: { call: 6.89e-4, product: 2.37e-10, score: 4.55e-8 },
  },
  {
    isTrained: true,
    queries: 3,
    fused: { call: 6.87e-4, product: 1.3e-8, score: 0 },
    plain: { call: 1.07e-3, product: 1.04e-9, score: 0 },
  },
  {
    isTrained: true,
    fused: { call: 6.29e-4, product: 3.81e-9, score: 0 },
    plain: { call: 1.04e-3, product: 2.77e-10, score: 3.94e-8 },
  },
];
