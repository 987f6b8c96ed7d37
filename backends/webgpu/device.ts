/** A WebGPU device: asking for it, what it can do, and what becomes of it. */
import {
  DEFAULT_LIMITS,
  type GpuCapabilities,
  gpuCapabilities,
  type GpuLimits,
} from "./capabilities.ts";
import { DeviceLostError, GpuUnavailableError } from "./errors.ts";
import { PipelineCache } from "./pipelines.ts";
import { probeSubgroups } from "./subgroups.ts";

/** Which adapter to ask for. */
export interface DeviceOptions {
  readonly powerPreference?: "low-power" | "high-performance";
}

/** A device that programs share. */
export class GpuDevice {
  readonly device: GPUDevice;
  readonly capabilities: GpuCapabilities;
  /** The pipelines of all its programs. */
  readonly pipelines: PipelineCache;
  readonly #another: () => Promise<GpuDevice>;
  #replacement: Promise<GpuDevice> | undefined;
  #refused: GPUError | undefined;
  #lost: DeviceLostError | undefined;

  /** @param another Asks for a device in place of this one, once it is lost. */
  constructor(
    device: GPUDevice,
    capabilities: GpuCapabilities,
    another: () => Promise<GpuDevice>,
  ) {
    this.device = device;
    this.capabilities = capabilities;
    this.pipelines = new PipelineCache(device);
    this.#another = another;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      // That is what this event is, by WebGPU's definition.
      this.#refused ??= (event as GPUUncapturedErrorEvent).error;
    });
    device.lost.then(({ reason, message }) => {
      this.#lost = new DeviceLostError(`The GPU device is lost (${reason}): ${message}`);
    });
  }

  /** Why the device is gone; undefined while it is there. */
  get lost(): DeviceLostError | undefined {
    return this.#lost;
  }

  /** {@linkcode lost}, when something has failed that may fail for that: news of a loss may come late. */
  async lostBy(error: unknown): Promise<DeviceLostError | undefined> {
    if (this.#lost === undefined) await new Promise((resolve) => setTimeout(resolve));
    if (this.#lost !== undefined) this.#lost.cause ??= error;
    return this.#lost;
  }

  /** What the device has refused since it was last asked. */
  takeRefused(): GPUError | undefined {
    const refused = this.#refused;
    this.#refused = undefined;
    return refused;
  }

  /**
   * The device that takes the place of this one, which is lost: the same for all who ask.
   *
   * @throws {GpuUnavailableError} When there is none any more.
   */
  replacement(): Promise<GpuDevice> {
    this.#replacement ??= this.#another();
    return this.#replacement;
  }
}

const FEATURES = ["shader-f16", "timestamp-query", "subgroups"] as const;

const shared = new Map<string, Promise<GpuDevice>>();

/**
 * The device that all programs of these options share.
 *
 * @throws {GpuUnavailableError} When there is none.
 */
export async function sharedDevice(options: DeviceOptions = {}): Promise<GpuDevice> {
  const key = options.powerPreference ?? "";
  const known = shared.get(key);
  const usable = known?.then(({ lost }) => lost === undefined, () => false);
  if (known !== undefined && await usable) return await known;
  // Who else has waited may have asked for one meanwhile.
  const now = shared.get(key);
  const made = now === undefined || now === known
    ? requestDevice(options, () => sharedDevice(options))
    : now;
  shared.set(key, made);
  return await made;
}

/**
 * A device of its own, with all that its adapter offers.
 *
 * @param another Asks for a device in its place once it is lost; by default one of its own again.
 * @throws {GpuUnavailableError} When there is none.
 */
export async function requestDevice(
  options: DeviceOptions = {},
  another: () => Promise<GpuDevice> = () => requestDevice(options),
): Promise<GpuDevice> {
  // The types promise what hosts without WebGPU do not have.
  const gpu = (navigator as { readonly gpu?: GPU }).gpu;
  if (gpu === undefined) {
    throw new GpuUnavailableError(
      "There is no WebGPU here: wanted Deno 2, or a browser that has it, on a secure page",
    );
  }
  const adapter = await gpu.requestAdapter(options);
  if (adapter === null) {
    throw new GpuUnavailableError(
      "WebGPU has found no adapter. On Linux it wants a Vulkan driver: the graphics card's, or one in " +
        "software (Debian's and Ubuntu's package mesa-vulkan-drivers, Fedora's mesa-vulkan-drivers, " +
        "Arch's vulkan-swrast)",
    );
  }
  const limits = limitsOf(adapter);
  const offered = FEATURES.filter((name) => adapter.features.has(name));
  // An adapter may have subgroups and not say so: asking for them tells.
  const attempts = offered.includes("subgroups") ? [offered] : [[...offered, "subgroups"], offered];
  for (const features of attempts) {
    const device = await adapter.requestDevice({
      requiredFeatures: features as GPUFeatureName[],
      requiredLimits: { ...limits },
    }).catch((error: unknown) => {
      if (features !== offered) return undefined;
      throw new GpuUnavailableError(`The GPU adapter gives no device: ${String(error)}`, {
        cause: error,
      });
    });
    if (device === undefined) continue;
    const { vendor, architecture, device: name, description, isFallbackAdapter } = adapter.info;
    const capabilities = gpuCapabilities({
      adapter: description || [vendor, architecture, name].filter(Boolean).join(" ") || "unnamed",
      software: isFallbackAdapter,
      f16: features.includes("shader-f16"),
      subgroups: features.includes("subgroups")
        ? await probeSubgroups(device, adapter.info)
        : undefined,
      timestamps: features.includes("timestamp-query"),
      limits,
    });
    return new GpuDevice(device, capabilities, another);
  }
  throw new GpuUnavailableError("The GPU adapter gives no device");
}

function limitsOf(adapter: GPUAdapter): GpuLimits {
  const names = Object.keys(DEFAULT_LIMITS) as (keyof GpuLimits)[];
  const limits = Object.fromEntries(names.map((name) => [name, adapter.limits[name]]));
  // Every name of the record is a limit of the adapter.
  return limits as unknown as GpuLimits;
}
