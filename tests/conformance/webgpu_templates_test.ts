/** The templates' kernels on WebGPU, one by one, against their definitions. */
import { emitAttention } from "../../backends/webgpu/templates/attention.ts";
import {
  type AnyAttention,
  ATTENTION_TILES,
  type AttentionTileName,
  fitsAttention,
} from "../../backends/webgpu/templates/attention_division.ts";
import { emitAttentionGrad } from "../../backends/webgpu/templates/attention_grad.ts";
import type { GpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import type { WebGpuBackend } from "../../backends/webgpu/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { emitMatmul } from "../../backends/webgpu/templates/matmul.ts";
import { fits, type MatmulTileName, TILES } from "../../backends/webgpu/templates/tile.ts";
import type { MatmulKernel } from "../../compiler/loop_ir.ts";
import { verifyKernel } from "../../compiler/verify_kernel.ts";
import { assert } from "../support/assert.ts";
import {
  attentionForms,
  attentionGradKernel,
  attentionKernel,
} from "../support/attention_kernels.ts";
import fc from "../support/fast_check.ts";
import { gpuTest } from "../support/gpu.ts";
import { compareOnGpu } from "../support/gpu_kernel.ts";
import {
  matmul,
  matmulParts,
  noise,
  type PartSpec,
  PLAIN,
  product,
  TURNED,
  typicalSum,
} from "../support/matmul_kernels.ts";
import { relativeError, typicalNormSum } from "./template_runner.ts";

async function assertAgrees(kernel: MatmulKernel, tile?: MatmulTileName): Promise<void> {
  verifyKernel(kernel);
  const gpu = await sharedDevice();
  const comparisons = await compareOnGpu(
    gpu,
    kernel,
    (kernel, options) => emitMatmul(kernel, { ...options, tile }),
    noise,
  );
  for (const comparison of comparisons) {
    const part = kernel.parts[Number.parseInt(comparison.name)];
    if (part === undefined) throw new TypeError(`Buffer ${comparison.name} is of no part`);
    const error = relativeError(comparison, typicalSum(part));
    assert(error < 3e-6, `${comparison.name} is off by ${error}, in tiles ${tile}`);
  }
}

/** The tiles that the device can run. */
function tilesOn({ capabilities }: WebGpuBackend): MatmulTileName[] {
  return (Object.keys(TILES) as MatmulTileName[]).filter((name) => fits(TILES[name], capabilities));
}

gpuTest("WebGPU's matmul agrees with its definition", async (backend) => {
  const tiles = fc.constantFrom(undefined, ...tilesOn(backend));
  await fc.assert(
    fc.asyncProperty(matmulParts, tiles, async (parts, tile) => {
      await assertAgrees(matmul(...parts), tile);
    }),
    { numRuns: 15 },
  );
});

gpuTest(
  "WebGPU's matmul in every kind of tile, beyond its edges and in its middle",
  async (backend) => {
    for (const tile of tilesOn(backend)) {
      const whole: PartSpec = {
        batch: [],
        m: [128],
        n: [128],
        terms: [product([16], TURNED, PLAIN)],
        epilogue: "residualAndSum",
      };
      const ragged: PartSpec = {
        batch: [2],
        m: [36],
        n: [133],
        terms: [product([30])],
        epilogue: "biasGelu",
      };
      await assertAgrees(matmul(whole, ragged), tile);
    }
  },
);

function gradientNoise(isLogSum: (buffer: number) => boolean) {
  return (buffer: number, element: number) =>
    isLogSum(buffer) ? 5 + 3 * noise(buffer, element) : 3 * noise(buffer, element);
}

const results = fc.constantFrom("both", "out", "logSumExp");

/** A tile that the kernel may be asked for in on a device, from a random number; undefined for its own. */
function tileFor(
  kernel: AnyAttention,
  { capabilities }: { readonly capabilities: GpuCapabilities },
  pick: number,
): AttentionTileName | undefined {
  const names = (Object.keys(ATTENTION_TILES) as AttentionTileName[])
    .filter((name) => fitsAttention(ATTENTION_TILES[name], kernel, capabilities.limits));
  return [undefined, ...names][pick % (names.length + 1)];
}

const pick = fc.nat(1000);

gpuTest("WebGPU's attention agrees with its definition", async () => {
  const gpu = await sharedDevice();
  for (const norms of [false, true]) {
    await fc.assert(
      fc.asyncProperty(attentionForms(norms), results, pick, async (form, wanted, pick) => {
        const kernel = attentionKernel(form, wanted);
        verifyKernel(kernel);
        const tile = tileFor(kernel, gpu, pick);
        const fill = gradientNoise(() => false);
        const emit: typeof emitAttention = (kernel, options) =>
          emitAttention(kernel, { ...options, tile });
        for (const comparison of await compareOnGpu(gpu, kernel, emit, fill)) {
          const error = relativeError(comparison);
          assert(error < 4e-6, `${comparison.name} is off by ${error}, in tiles ${tile}`);
        }
      }),
      { numRuns: 10 },
    );
  }
});

const gradients = fc.record({
  q: fc.boolean(),
  k: fc.boolean(),
  v: fc.boolean(),
  norms: fc.boolean(),
}).filter(({ q, k, v }) => q || k || v);

gpuTest("WebGPU's gradient of attention agrees with its definition", async () => {
  const gpu = await sharedDevice();
  for (const norms of [false, true]) {
    await fc.assert(
      fc.asyncProperty(attentionForms(norms), gradients, pick, async (form, wanted, pick) => {
        const kernel = attentionGradKernel(form, wanted);
        verifyKernel(kernel);
        const tile = tileFor(kernel, gpu, pick);
        const fill = gradientNoise((buffer) => kernel.buffers[buffer]?.name === "logSumExp");
        const emit: typeof emitAttentionGrad = (kernel, options) =>
          emitAttentionGrad(kernel, { ...options, tile });
        const comparisons = await compareOnGpu(gpu, kernel, emit, fill);
        for (const comparison of comparisons) {
          const typical = typicalNormSum(kernel, comparison.name, comparisons);
          const error = relativeError(comparison, typical);
          assert(error < 1e-5, `${comparison.name} is off by ${error}, in tiles ${tile}`);
        }
      }),
      { numRuns: 15 },
    );
  }
});
