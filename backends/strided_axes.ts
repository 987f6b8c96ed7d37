/** Axes of strided views, as kernels walk them. */

/** One axis: how many steps, and how many elements a step moves. */
export interface StridedAxis {
  readonly extent: number;
  readonly stride: number;
}

/** The axes with neighbours through which memory is walked at one stride as one axis; none of one step. */
export function mergeAxes(axes: readonly StridedAxis[]): readonly StridedAxis[] {
  const merged: StridedAxis[] = [];
  for (const axis of axes) {
    if (axis.extent === 1) continue;
    const before = merged.at(-1);
    if (before !== undefined && before.stride === axis.extent * axis.stride) {
      merged[merged.length - 1] = { extent: before.extent * axis.extent, stride: axis.stride };
    } else {
      merged.push(axis);
    }
  }
  return merged;
}
