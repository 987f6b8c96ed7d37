/** What training and evaluation need to know of a model that tells images apart. */
import { dim, type MapTree, spec, type Tensor, type TensorSpec } from "../graph/mod.ts";
import type { ParameterDeclaration } from "./parameters.ts";

/** How a forward pass is run. */
export interface ForwardOptions {
  /** Whether dropout is on. Default false. */
  readonly training?: boolean;
  /** Random key, u32 [2]; needed for dropout while training. */
  readonly key?: Tensor | undefined;
  /**
   * Whether a gradient keeps only what goes in and out of the encoder's blocks, and computes what is
   * within again: less memory, about a third more FLOPs. Default false.
   */
  readonly checkpoint?: boolean;
}

/** What a forward pass gives. */
export interface ForwardResult {
  /** f32 [batch, classes]. */
  readonly logits: Tensor;
  /**
   * Every intermediate by name: `patch`, `embedded`, for each block `encoder/3/norm1`, `…/attention`,
   * `…/+attention` (after the residual), `…/norm2`, `…/mlp`, `…/+mlp`, within them `attention/query`,
   * `key`, `value`, `heads`, `mlp/hidden` and `mlp/active`; then `norm`, `pooled`, `pre_logits`, `logits`.
   * With QK-norm also `attention/queryNorm` and `keyNorm`. A parallel block has no `+attention` and
   * `norm2`; its `+mlp` is the sum of all three. With attention pooling also `map/attention`,
   * `map/attention/heads`, `map/norm`, `map/mlp`, `map/mlp/hidden` and `map/mlp/active`.
   */
  readonly taps: ReadonlyMap<string, Tensor>;
}

/** A model that maps images to logits; `P` is its structure of parameters. */
export interface ImageModel<P = unknown> {
  /** What it was made from, as JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Height, width and channels of an image. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classes: number;
  /** Shape and initialiser of each parameter. */
  readonly declarations: MapTree<P, Tensor, ParameterDeclaration>;
  /** Element type and shape of each parameter, to trace with. */
  readonly parameterSpecs: MapTree<P, Tensor, TensorSpec<"f32">>;
  /** The graph of one forward pass over `images`, f32 [batch, height, width, channels]. */
  apply(parameters: P, images: Tensor, options?: ForwardOptions): ForwardResult;
}

/** A batch of any number of the model's images, to trace with: its first dim is named `batch`. */
export function imageSpec(model: { readonly imageShape: readonly number[] }): TensorSpec<"f32"> {
  return spec("f32", [dim("batch"), ...model.imageShape]);
}
