/** Numbers in the orders that peers want them in. */

type Floats = Float32Array<ArrayBuffer>;

/** The array with its axes in another order: axis `i` of the result is axis `order[i]` of `values`. */
export function permuted(
  values: Floats,
  shape: readonly number[],
  order: readonly number[],
): Floats {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const lengths = order.map((axis) => shape[axis] ?? 0);
  const steps = order.map((axis) => strides[axis] ?? 0);
  const result = new Float32Array(values.length);
  let to = 0;
  const copy = (axis: number, from: number): void => {
    const [length = 0, step = 0] = [lengths[axis], steps[axis]];
    if (axis === order.length - 1) {
      for (let index = 0; index < length; index++) {
        result[to++] = values[from + index * step] ?? NaN;
      }
    } else {
      for (let index = 0; index < length; index++) copy(axis + 1, from + index * step);
    }
  };
  copy(0, 0);
  return result;
}

/** Matrices of equal size [rows, columns], the columns of each right of those of the one before. */
export function sideBySide(parts: readonly Floats[], rows: number, columns: number): Floats {
  const width = parts.length * columns;
  const result = new Float32Array(rows * width);
  for (const [part, values] of parts.entries()) {
    for (let row = 0; row < rows; row++) {
      const from = values.subarray(row * columns, (row + 1) * columns);
      result.set(from, row * width + part * columns);
    }
  }
  return result;
}
