/** How large numbers are before WebGPU's kernels round them to 16 bits. */
import { backendOn } from "../../backends/webgpu/backend.ts";
import type { RoundingNote } from "../../backends/webgpu/audit.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { compile } from "../../backends/compile.ts";
import { add, cast, contract, mul, spec, sum, trace } from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";

/** Casts a scaled input, a product of matrices and a sum; has a kernel that rounds nothing. */
const graph = trace(
  { x: spec("f32", [70]), a: spec("f32", [3, 5]), b: spec("f32", [5, 4]) },
  ({ x, a, b }) => ({
    half: cast(mul(x, -2), "f16"),
    product: cast(contract("i k, k j -> i j", a, b), "bf16"),
    total: sum(add(x, 1)),
  }),
);

const x = Float32Array.from({ length: 70 }, (_, at) => at === 33 ? 40000 : at);

for (const f16 of [true, false]) {
  gpuTest(`WebGPU's audit finds what is rounded ${f16 ? "" : "without a type f16"}`, async () => {
    const gpu = await sharedDevice();
    const capabilities = { ...gpu.capabilities, f16: f16 && gpu.capabilities.f16 };
    const seen: (readonly RoundingNote[])[] = [];
    const backend = backendOn(gpu, { capabilities, onAudit: (notes) => seen.push(notes) });
    using program = await compile(graph, { backend, checkInputs: false });
    const a = new Float32Array(15).fill(10);
    const b = new Float32Array(20).fill(2);
    const { half, product, total } = await program.run({ x, a, b });
    assertEquals(half.data[33], 0xfc00);
    assertEquals(half.data[1], 0xc000);
    assertEquals(product.data[0], 0x42c8);
    assert(Math.abs(Number(total.data[0]) - x.reduce((sum, value) => sum + value + 1, 0)) < 1);
    const [notes] = seen;
    const largest = (kind: string) =>
      notes?.filter((note) => note.kind === kind).map((note) => note.largest);
    assertEquals(largest("matmul"), [100]);
    assertEquals(Math.max(...largest("loops") ?? []), 80000);
    assert(notes?.every(({ nodes }) => nodes.some(({ op }) => op === "cast")));
    await program.run({ x: x.map(() => NaN), a: a.map(() => Infinity), b });
    assertEquals(seen.length, 2);
    assertEquals(seen[1]?.map((note) => note.largest).sort(), [Infinity, NaN]);
  });
}

gpuTest("WebGPU's audit tells nothing of programs that round nothing", async () => {
  const seen: (readonly RoundingNote[])[] = [];
  const backend = backendOn(await sharedDevice(), { onAudit: (notes) => seen.push(notes) });
  const plain = trace({ x: spec("f32", [3]) }, ({ x }) => ({ y: add(x, 1) }));
  using program = await compile(plain, { backend });
  await program.run({ x: new Float32Array(3) });
  assertEquals(seen, [[]]);
});
