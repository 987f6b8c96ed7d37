/** Index arithmetic of strided views, as WGSL text. */

/** Axes that one flat number runs over, outermost first. */
interface StridedAxis {
  readonly extent: number;
  readonly stride: number;
}

/**
 * Where a flat, row-major number over axes of these extents leads to: the sum of each axis' index times
 * its stride, with as few divisions as can be. `flat` is cheap text of type i32.
 */
export function stridedOffset(
  flat: string,
  extents: readonly number[],
  strides: readonly number[],
): string {
  const axes = mergeAxes(extents.map((extent, at) => ({ extent, stride: strides[at] ?? 0 })));
  let inner = 1;
  const terms: string[] = [];
  axes.toReversed().forEach(({ extent, stride }, at) => {
    const outermost = at === axes.length - 1;
    const quotient = inner === 1 ? flat : `(${flat} / ${inner})`;
    const index = outermost ? quotient : `(${quotient} % ${extent})`;
    if (stride !== 0) terms.push(stride === 1 ? index : `${index} * ${stride}`);
    inner *= extent;
  });
  return terms.length === 0 ? "0" : terms.join(" + ");
}

/** Axes through which memory is walked at one stride are one axis. */
function mergeAxes(axes: readonly StridedAxis[]): StridedAxis[] {
  const merged: StridedAxis[] = [];
  for (const axis of axes) {
    if (axis.extent === 1) continue;
    const last = merged.at(-1);
    if (last !== undefined && last.stride === axis.stride * axis.extent) {
      merged[merged.length - 1] = { extent: last.extent * axis.extent, stride: axis.stride };
    } else {
      merged.push(axis);
    }
  }
  return merged;
}

/** The index along each axis of a flat, row-major number. */
export function axisIndices(flat: string, extents: readonly number[]): string[] {
  let inner = 1;
  const texts: string[] = [];
  for (let at = extents.length - 1; at >= 0; at--) {
    const extent = extents[at] ?? 1;
    const quotient = inner === 1 ? flat : `${flat} / ${inner}`;
    texts.unshift(extent === 1 ? "0" : at === 0 ? quotient : `(${quotient}) % ${extent}`);
    inner *= extent;
  }
  return texts;
}

/** A sum of terms, without those that are 0. */
export function sumText(...terms: readonly (string | number)[]): string {
  const kept = terms.map(String).filter((term) => term !== "0");
  return kept.length === 0 ? "0" : kept.join(" + ");
}

/** The product of extents. */
export function sizeOf(extents: readonly number[]): number {
  return extents.reduce((total, extent) => total * extent, 1);
}
