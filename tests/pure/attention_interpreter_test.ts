/** The interpreter of attention kernels, against finite differences and a norm of rows beforehand. */
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import type { AttentionGradKernel, AttentionKernel } from "../../compiler/loop_ir.ts";
import { assertAlmostEquals } from "../support/assert.ts";
import {
  type AttentionForm,
  attentionGradKernel,
  attentionKernel,
} from "../support/attention_kernels.ts";

/** The buffers of a kernel by name. */
type Values = Map<string, Float64Array>;

function run(kernel: AttentionKernel | AttentionGradKernel, given: Values): Values {
  const values = kernel.buffers.map(({ name, elements }) =>
    given.get(name) ?? new Float64Array(elements)
  );
  interpretKernel(kernel, values);
  return new Map(kernel.buffers.map(({ name }, at) => [name, values[at] ?? new Float64Array()]));
}

function wave(length: number, phase: number): Float64Array {
  return Float64Array.from({ length }, (_, index) => Math.sin(phase + 1.7 * index));
}

const PLAIN: AttentionForm = {
  size: { batch: 2, heads: 1, queries: 3, keys: 4, depth: 5, valueDepth: 2 },
  layouts: ["heads", "tokens", "transposed", "heads"],
  offset: 0,
  scale: 0.7,
  queryNorm: undefined,
  keyNorm: undefined,
};

const FORMS: Readonly<Record<string, AttentionForm>> = {
  "no norms": PLAIN,
  "a layer norm of queries": {
    ...PLAIN,
    queryNorm: { center: true, scale: true, bias: true },
  },
  "root-mean-square norms of both": {
    ...PLAIN,
    queryNorm: { center: false, scale: true, bias: false },
    keyNorm: { center: false, scale: false, bias: true },
  },
};

/** Which result of the gradient belongs to which buffer of the forward kernel. */
const PAIRS: readonly (readonly [input: string, gradient: string])[] = [
  ["q", "dq"],
  ["k", "dk"],
  ["v", "dv"],
  ["queryNorm_scale", "queryNormGrad_scale"],
  ["queryNorm_bias", "queryNormGrad_bias"],
  ["keyNorm_scale", "keyNormGrad_scale"],
  ["keyNorm_bias", "keyNormGrad_bias"],
];

for (const [name, form] of Object.entries(FORMS)) {
  Deno.test(`attention's gradient agrees with finite differences: ${name}`, () => {
    // All gradients lie as what they are the gradients of.
    const forward = attentionKernel(form, "both");
    const [first, second, third] = form.layouts;
    const turned: AttentionForm = { ...form, layouts: [first, second, third, first] };
    const backward = withLayouts(
      attentionGradKernel(turned, {
        q: true,
        k: true,
        v: true,
        norms: true,
      }),
      forward,
    );
    const inputs: Values = new Map(
      forward.buffers.filter(({ access }) => access === "read")
        .map(({ name, elements }, at) => [name, wave(elements, at)]),
    );
    const results = run(forward, inputs);
    const cotangent = wave(results.get("out")?.length ?? 0, 3);
    const found = run(backward, new Map([...inputs, ...results, ["outCotangent", cotangent]]));
    const loss = () =>
      run(forward, inputs).get("out")
        ?.reduce((sum, value, at) => sum + value * (cotangent[at] ?? 0), 0) ?? NaN;
    for (const [input, gradient] of PAIRS) {
      const values = inputs.get(input);
      values?.forEach((value, at) => {
        values[at] = value + 1e-5;
        const above = loss();
        values[at] = value - 1e-5;
        const below = loss();
        values[at] = value;
        assertAlmostEquals(found.get(gradient)?.[at] ?? NaN, (above - below) / 2e-5, 1e-8);
      });
    }
  });
}

/** The gradient with its results laid out as the forward kernel's operands. */
function withLayouts(kernel: AttentionGradKernel, forward: AttentionKernel): AttentionGradKernel {
  const like = <T extends { readonly buffer: number }>(result: T | undefined, as: T | undefined) =>
    result && as && { ...as, buffer: result.buffer };
  return {
    ...kernel,
    out: like(kernel.out, forward.out) ?? kernel.out,
    outCotangent: like(kernel.outCotangent, forward.out) ?? kernel.outCotangent,
    dq: like(kernel.dq, forward.q),
    dk: like(kernel.dk, forward.k),
    dv: like(kernel.dv, forward.v),
  };
}
