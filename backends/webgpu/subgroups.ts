/** Whether invocations of a workgroup can fold values without its memory, found out by doing it. */

/** How a device's shaders use subgroups. */
export interface Subgroups {
  /** Whether they have to say `enable subgroups;`: browsers want it, Deno (2.9) refuses it. */
  readonly directive: boolean;
  /** The fewest invocations that a subgroup has, and the most. */
  readonly minSize: number;
  readonly maxSize: number;
}

/** The fewest and the most that WebGPU allows. */
const LEAST_SIZE = 4;
const MOST_SIZE = 128;
const INVOCATIONS = 64;
const WORDS = 3;

/**
 * What a device with the feature `subgroups` does with it: undefined where shaders that use it do not
 * compile, sum up wrong, or where a subgroup is not a row of neighbours along x.
 */
export async function probeSubgroups(
  device: GPUDevice,
  { subgroupMinSize = LEAST_SIZE, subgroupMaxSize = MOST_SIZE }: Pick<
    Partial<GPUAdapterInfo>,
    "subgroupMinSize" | "subgroupMaxSize"
  >,
): Promise<Subgroups | undefined> {
  for (const directive of [false, true]) {
    if (await works(device, directive)) {
      const minSize = Math.max(subgroupMinSize, LEAST_SIZE);
      return { directive, minSize, maxSize: Math.max(subgroupMaxSize, minSize) };
    }
  }
  return undefined;
}

function shader(directive: boolean): string {
  return `${directive ? "enable subgroups;\n" : ""}
@group(0) @binding(0) var<storage, read_write> found: array<u32, ${WORDS * INVOCATIONS}>;
@compute @workgroup_size(${INVOCATIONS}, 1)
fn main(
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(subgroup_size) size: u32,
  @builtin(subgroup_invocation_id) place: u32,
) {
  found[${WORDS}u * local.x] = size;
  found[${WORDS}u * local.x + 1u] = place;
  found[${WORDS}u * local.x + 2u] = u32(subgroupAdd(f32(local.x)));
}
`;
}

async function works(device: GPUDevice, directive: boolean): Promise<boolean> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: shader(directive) });
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module, entryPoint: "main" },
  });
  if (await device.popErrorScope() !== null) return false;
  const size = 4 * WORDS * INVOCATIONS;
  const bufferOf = (usage: number) => device.createBuffer({ size, usage });
  const buffer = bufferOf(GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC);
  const staging = bufferOf(GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
  try {
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return isRight(new Uint32Array(staging.getMappedRange().slice(0)));
  } finally {
    for (const made of [buffer, staging]) made.destroy();
  }
}

/** Whether each subgroup is a row of neighbours, and has their sum. */
function isRight(found: Uint32Array): boolean {
  const size = found[0] ?? 0;
  if (size < LEAST_SIZE) return false;
  return Array.from({ length: INVOCATIONS }, (_, at) => at).every((at) => {
    const first = at - at % size;
    const count = Math.min(size, INVOCATIONS - first);
    const sum = count * first + count * (count - 1) / 2;
    const [own, place, added] = found.subarray(WORDS * at, WORDS * at + WORDS);
    return own === size && place === at % size && added === sum;
  });
}
