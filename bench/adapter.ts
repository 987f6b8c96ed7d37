/** The GPU of this process. */

/** What an adapter is. */
export interface Adapter {
  readonly name: string;
  /** Whether it is a driver in software. */
  readonly software: boolean;
}

/** The adapter that WebGPU gives to this process; undefined where it gives none. */
export async function adapterHere(): Promise<Adapter | undefined> {
  const adapter = await navigator.gpu.requestAdapter();
  if (adapter === null) return undefined;
  return { name: adapterName(adapter.info), software: adapter.info.isFallbackAdapter };
}

/** As far as the adapter tells. */
export function adapterName(
  info: Pick<GPUAdapterInfo, "description" | "vendor" | "architecture">,
): string {
  return info.description || `${info.vendor} ${info.architecture}`.trim() || "unnamed";
}
