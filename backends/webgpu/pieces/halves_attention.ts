/** Attention and its gradient cut in two: by results, by batch entries, by rows of results. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  MatrixOperand,
  VectorOperand,
} from "../../../compiler/loop_ir.ts";
import type { PlainKernel } from "../emit_kernel.ts";
import { type Halves, middleOf } from "./halves.ts";

/** All ways to cut the kernel. */
export function halvesOfAttention(kernel: AttentionKernel): Halves[] {
  const { batch, queries } = kernel;
  const operands = ["q", "k", "v", "out", "logSumExp"] as const;
  const byQueries = halvesAlong("queries", queries, (start, length): AttentionKernel => {
    return { ...kernel, queries: length, ...moved(kernel, ["q", "out", "logSumExp"], start) };
  });
  return [
    ...batch.flatMap((extent, at) =>
      halvesAlong(`batch axis ${at}`, extent, (start, length): AttentionKernel => ({
        ...kernel,
        batch: withExtent(batch, at, length),
        ...moved(kernel, operands, start, at),
      }))
    ),
    ...byQueries,
  ];
}

/** All ways to cut the kernel; where it has results that are summed over all rows, by results alone. */
export function halvesOfAttentionGrad(kernel: AttentionGradKernel): Halves[] {
  const { batch, queries, keys, dq, dk, dv, queryNormGrad, keyNormGrad } = kernel;
  const operands = ["q", "k", "v", "out", "logSumExp", "outCotangent", "dq", "dk", "dv"] as const;
  const sums = queryNormGrad !== undefined || keyNormGrad !== undefined;
  const along = (sums ? [] : batch).flatMap((extent, at) =>
    halvesAlong(`batch axis ${at}`, extent, (start, length): AttentionGradKernel => ({
      ...kernel,
      batch: withExtent(batch, at, length),
      ...moved(kernel, operands, start, at),
    }))
  );
  if (dq !== undefined && (dk !== undefined || dv !== undefined)) {
    const kernels = [
      { ...kernel, dk: undefined, dv: undefined, keyNormGrad: undefined },
      { ...kernel, dq: undefined, queryNormGrad: undefined },
    ] as const;
    return [{ name: "the queries' gradient", kernels, handed: [] }, ...along];
  }
  if (dk !== undefined && dv !== undefined) {
    const kernels = [
      { ...kernel, dv: undefined },
      { ...kernel, dk: undefined, keyNormGrad: undefined },
    ] as const;
    along.unshift({ name: "the keys' gradient", kernels, handed: [] });
  }
  if (sums) return along;
  if (dq === undefined) {
    const byKeys = halvesAlong("keys", keys, (start, length): AttentionGradKernel => {
      return { ...kernel, keys: length, ...moved(kernel, ["k", "v", "dk", "dv"], start) };
    });
    return [...along, ...byKeys];
  }
  const byQueries = halvesAlong("queries", queries, (start, length): AttentionGradKernel => ({
    ...kernel,
    queries: length,
    ...moved(kernel, ["q", "out", "logSumExp", "outCotangent", "dq"], start),
  }));
  return [...along, ...byQueries];
}

function halvesAlong(
  name: string,
  extent: number,
  piece: (start: number, length: number) => PlainKernel,
): Halves[] {
  if (extent < 2) return [];
  const middle = middleOf(extent);
  const kernels = [piece(0, middle), piece(middle, extent - middle)] as const;
  return [{ name: `${name} to ${middle}`, kernels, handed: [] }];
}

function withExtent(batch: readonly number[], at: number, extent: number): number[] {
  return batch.map((whole, axis) => axis === at ? extent : whole);
}

/** The operands, where they are some rows further on, or some entries along a batch axis. */
function moved<
  Name extends string,
  Kernel extends Readonly<Partial<Record<Name, MatrixOperand | VectorOperand | undefined>>>,
>(
  kernel: Kernel,
  names: readonly Name[],
  by: number,
  axis?: number,
): Pick<Kernel, Name> {
  const operands = { ...kernel } as Pick<Kernel, Name>;
  const found: Partial<Record<Name, unknown>> = {};
  for (const name of names) {
    const operand = operands[name];
    if (operand === undefined) continue;
    const stride = axis === undefined ? operand.rowStride : operand.batchStrides[axis] ?? 0;
    found[name] = { ...operand, offset: operand.offset + by * stride };
  }
  return found as Pick<Kernel, Name>;
}
