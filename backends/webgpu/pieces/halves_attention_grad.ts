/**
 * The gradient of attention cut in two: by results, by batch entries, by rows of results, or by the rows
 * that results are summed over. What both halves find a part of is added up.
 */
import type { AttentionGradKernel, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { addedUp, Handed, moved, withExtent } from "./attention_slices.ts";
import { type Halves, middleOf, withHanded } from "./halves.ts";

const OF_QUERIES = ["q", "out", "logSumExp", "outCotangent", "dq"] as const;
const OF_KEYS = ["k", "v", "dk", "dv"] as const;

const NO_QUERIES = { dq: undefined, queryNormGrad: undefined };
const NO_KEYS = { dk: undefined, keyNormGrad: undefined };
const NO_VALUES = { dv: undefined };

/** All ways to cut the kernel. */
export function halvesOfAttentionGrad(kernel: AttentionGradKernel): Halves[] {
  const { batch, queries, keys, dq, dk, dv, queryNormGrad, keyNormGrad } = kernel;
  const toQueries = dq !== undefined || queryNormGrad !== undefined;
  const toKeys = dk !== undefined || keyNormGrad !== undefined;
  const along = batch.flatMap((extent, at) =>
    halvesAlong(kernel, `batch axis ${at}`, extent, [], (start, length) => ({
      batch: withExtent(batch, at, length),
      ...moved(kernel, [...OF_QUERIES, ...OF_KEYS], start, at),
    }))
  );
  if (toQueries && (toKeys || dv !== undefined)) {
    const kernels = [{ ...kernel, ...NO_KEYS, ...NO_VALUES }, { ...kernel, ...NO_QUERIES }];
    return [{ name: "the queries' gradient", kernels, handed: [] }, ...along];
  }
  if (toKeys && dv !== undefined) {
    const kernels = [{ ...kernel, ...NO_VALUES }, { ...kernel, ...NO_KEYS }];
    along.unshift({ name: "the keys' gradient", kernels, handed: [] });
  }
  const summed = (ofQueries: boolean) => ofQueries === toQueries ? [] : MATRICES;
  return [
    ...along,
    ...halvesAlong(kernel, "queries", queries, summed(true), (start, length) => ({
      queries: length,
      ...moved(kernel, OF_QUERIES, start),
    })),
    ...halvesAlong(kernel, "keys", keys, summed(false), (start, length) => ({
      keys: length,
      ...moved(kernel, OF_KEYS, start),
    })),
  ];
}

const MATRICES = ["dq", "dk", "dv"] as const;
const NORMS = ["queryNormGrad", "keyNormGrad"] as const;
const VECTORS = ["scale", "bias"] as const;

/** A result of which both halves find a part. */
interface PartedResult {
  /** Of its rows. */
  readonly extents: readonly number[];
  readonly columns: number;
  /** Where its first part and in the end their sum is, and where its second part. */
  readonly places: readonly [MatrixOperand, MatrixOperand];
}

/**
 * The halves along an axis. What flows back to norms' vectors is summed over all rows, so that both
 * find a part of it.
 *
 * @param summed The matrices that are summed over the axis.
 */
function halvesAlong(
  kernel: AttentionGradKernel,
  axis: string,
  extent: number,
  summed: readonly (typeof MATRICES[number])[],
  piece: (start: number, length: number) => Partial<AttentionGradKernel>,
): Halves[] {
  if (extent < 2) return [];
  const middle = middleOf(extent);
  const { batch, queries, keys, depth, valueDepth } = kernel;
  const handed = new Handed(kernel.buffers);
  const parted: PartedResult[] = [];
  let second: AttentionGradKernel = { ...kernel, ...piece(middle, extent - middle) };
  for (const name of summed) {
    const result = kernel[name];
    if (result === undefined) continue;
    const rows = name === "dq" ? queries : keys;
    const columns = name === "dv" ? valueDepth : depth;
    const partial = handed.matrix(`partial_${name}`, batch, rows, columns);
    parted.push({ extents: [...batch, rows], columns, places: [result, partial] });
    second = { ...second, [name]: partial };
  }
  for (const name of NORMS) {
    for (const vector of VECTORS) {
      const result = kernel[name]?.[vector];
      if (result === undefined) continue;
      const partial = handed.matrix(`partial_${name}_${vector}`, [], 1, depth);
      const whole = { ...result, batchStrides: [], rowStride: 0 };
      parted.push({ extents: [1], columns: depth, places: [whole, partial] });
      second = { ...second, [name]: { ...second[name], [vector]: partial } };
    }
  }
  const buffers = withHanded(kernel.buffers, handed.buffers, "write");
  return [{
    name: `${axis} to ${middle}`,
    kernels: [
      { ...kernel, ...piece(0, middle), buffers },
      { ...second, buffers },
      ...parted.map(({ extents, columns, places }) =>
        addedUp({ ...kernel, buffers }, extents, columns, places)
      ),
    ],
    handed: handed.buffers,
    isAddedUp: summed.length > 0,
  }];
}
