/** How Fovea's parameters are given to jax-js. */

/** The shape in which jax-js gets a parameter: kernels are matrices, biases vectors. */
export function jaxShape(path: string, shape: readonly number[]): number[] {
  const size = shape.reduce((product, length) => product * length, 1);
  if (path.endsWith("bias")) return [size];
  if (!path.endsWith("kernel")) return [...shape];
  const [first = 1, last = 1] = [shape[0], shape.at(-1)];
  const splitsOutputs = /(query|key|value)\/kernel$/.test(path);
  return splitsOutputs ? [first, size / first] : [size / last, last];
}
