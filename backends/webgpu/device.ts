/** A WebGPU device: asking for it, and what it can do. */
import {
  DEFAULT_LIMITS,
  type GpuCapabilities,
  gpuCapabilities,
  type GpuLimits,
} from "./capabilities.ts";
import { DeviceLostError, GpuUnavailableError, GpuValidationError } from "./errors.ts";

/** Which adapter to ask for. */
export interface DeviceOptions {
  readonly powerPreference?: "low-power" | "high-performance";
}

/** A device that programs share. */
export class GpuDevice {
  readonly device: GPUDevice;
  readonly capabilities: GpuCapabilities;
  /** What the device has refused since the last check. */
  #refused: GpuValidationError | undefined;
  #lost: DeviceLostError | undefined;

  constructor(device: GPUDevice, capabilities: GpuCapabilities) {
    this.device = device;
    this.capabilities = capabilities;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      // That is what this event is, by WebGPU's definition.
      const { error } = event as GPUUncapturedErrorEvent;
      this.#refused ??= new GpuValidationError(error.message);
    });
    device.lost.then(({ reason, message }) => {
      this.#lost = new DeviceLostError(`The GPU device is lost (${reason}): ${message}`);
    });
  }

  /** Throws when the device is lost, or has refused a command since it was last asked. */
  check(): void {
    const refused = this.#refused;
    this.#refused = undefined;
    if (this.#lost !== undefined) throw this.#lost;
    if (refused !== undefined) throw refused;
  }

  /** Whether the device can be used. */
  get usable(): boolean {
    return this.#lost === undefined;
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
  const known = await shared.get(key)?.catch(() => undefined);
  if (known?.usable === true) return known;
  const made = requestDevice(options);
  shared.set(key, made);
  return await made;
}

/**
 * A device of its own, with all that its adapter offers.
 *
 * @throws {GpuUnavailableError} When there is none.
 */
export async function requestDevice(options: DeviceOptions = {}): Promise<GpuDevice> {
  const gpu = navigator.gpu;
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
    const { vendor, architecture, device: name, description } = adapter.info;
    const capabilities = gpuCapabilities({
      adapter: description || [vendor, architecture, name].filter(Boolean).join(" ") || "unnamed",
      f16: features.includes("shader-f16"),
      subgroups: features.includes("subgroups"),
      timestamps: features.includes("timestamp-query"),
      limits,
    });
    return new GpuDevice(device, capabilities);
  }
  throw new GpuUnavailableError("The GPU adapter gives no device");
}

function limitsOf(adapter: GPUAdapter): GpuLimits {
  const names = Object.keys(DEFAULT_LIMITS) as (keyof GpuLimits)[];
  const limits = Object.fromEntries(names.map((name) => [name, adapter.limits[name]]));
  // Every name of the record is a limit of the adapter.
  return limits as unknown as GpuLimits;
}
