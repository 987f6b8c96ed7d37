/** Images into rows of patches (Dosovitskiy et al. 2020, section 3.1). */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { divideDims, multiplyDims, type Shape } from "../shape.ts";
import type { Patchify, ShapeOf, Valid } from "../shape_types.ts";
import { reshape, transpose } from "./movement.ts";
import {
  at,
  inputAt,
  noFlops,
  onlyOperand,
  type OperandType,
  pick,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
} from "./support.ts";

/** Patches. */
export const patchifyRecord = defineOp<{ readonly patch: number }>({
  name: "patchify",
  kind: "composite",
  doc:
    "[batch, height, width, channels] into [batch, patches, patch * patch * channels]: patches " +
    "row by row, and within each its rows, columns and channels in that order.",
  infer: (inputs, { patch }) => {
    const x = onlyOperand("patchify", inputs);
    const { batch, rows, columns, channels } = patchGrid(x, patch);
    return {
      dtype: x.dtype,
      shape: [batch, multiplyDims(rows, columns), multiplyDims(patch * patch, channels)],
    };
  },
  vjp: "decompose",
  flops: noFlops,
  reference: (inputs, _output, { patch }) => {
    const x = at(inputs, 0);
    const [batch = 0, height = 0, width = 0, channels = 0] = x.shape;
    const [image = 0, row = 0, column = 0, channel = 0] = rowMajorStrides(x.shape);
    const sizes = [batch, height / patch, width / patch, patch, patch, channels];
    const steps = [image, row * patch, column * patch, row, column, channel];
    return pick(x, stridedOffsets(sizes, steps));
  },
  decompose: (node) => {
    const x = inputAt(node, 0);
    const patch = Number(node.attrs["patch"]);
    const { batch, rows, columns, channels } = patchGrid(x, patch);
    const grid = reshape(x, [batch, rows, patch, columns, patch, channels]);
    return reshape(transpose(grid, [0, 1, 3, 2, 4, 5]), node.shape);
  },
});

function patchGrid(x: OperandType, patch: number) {
  const [batch, height, width, channels] = x.shape;
  const fits = Number.isSafeInteger(patch) && patch > 0;
  const rows = fits && height !== undefined ? divideDims(height, patch) : undefined;
  const columns = fits && width !== undefined ? divideDims(width, patch) : undefined;
  if (
    x.shape.length !== 4 || batch === undefined || channels === undefined ||
    rows === undefined || columns === undefined
  ) {
    throw new ShapeError(
      "patchify",
      `wanted [batch, height, width, channels] with sides that are multiples of ${patch}`,
      textsOf([x]),
    );
  }
  return { batch, rows, columns, channels };
}

/**
 * Images [batch, height, width, channels] into rows of patches [batch, (height / patch) * (width /
 * patch), patch * patch * channels]: patches row by row, and within each its rows, columns and
 * channels in that order.
 *
 * @throws {ShapeError} When `x` has another rank or a side is not a multiple of `patch`.
 */
export function patchify<D extends DType, S extends Shape, const Patch extends number>(
  x: Tensor<D, S>,
  patch: Patch & Valid<Patchify<S, Patch>>,
): Tensor<D, ShapeOf<Patchify<S, Patch>>> {
  const node = makeNode(patchifyRecord, [x], { patch });
  return node as Tensor<D, ShapeOf<Patchify<S, Patch>>>;
}
