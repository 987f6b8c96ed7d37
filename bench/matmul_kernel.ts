/**
 * Speed of the WebAssembly templates on one thread, beside the multiply-add peak measured in the same
 * run: what to look at while changing `backends/wasm/templates/`.
 *
 *     deno run bench/matmul_kernel.ts                     all sizes
 *     deno run bench/matmul_kernel.ts 197x768             sizes whose name matches
 *     deno run bench/matmul_kernel.ts 197x768 4x8         with another register tile
 *     deno run bench/matmul_kernel.ts 197x768 6x8 stored  with right operands in panels already
 *     node bench/matmul_kernel.ts                         in Node.js, from 24
 *
 * Prints a line for each: units of work, scratch, milliseconds and GFLOP/s (the best of several means
 * of processor time, after a warm-up with pauses in which the engine can replace its first code).
 */
import process from "node:process";
import type {
  AttentionGradKernel,
  AttentionKernel,
  KernelBuffer,
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
} from "../compiler/loop_ir.ts";
import { emitKernel } from "../backends/wasm/emit_kernel.ts";
import { ModuleBuilder } from "../backends/wasm/encoder.ts";
import { wasmFeatures } from "../backends/wasm/features.ts";
import {
  type MicrokernelName,
  requireMicrokernel,
} from "../backends/wasm/templates/microkernel.ts";

type BenchedKernel = MatmulKernel | AttentionKernel | AttentionGradKernel;

type Turned = "" | "a" | "b";

interface Case {
  readonly name: string;
  readonly kernel: BenchedKernel;
  readonly flops: number;
}

const WARM_UP_MS = 250;
const SAMPLE_MS = 60;
const SAMPLES = 8;
const PAGE_BYTES = 65536;

function buffer(name: string, elements: number, access: "read" | "write" = "read"): KernelBuffer {
  return { name, dtype: "f32", elements, access };
}

function operand(buffer: number, [free, k]: readonly [number, number]): MatmulOperand {
  return { buffer, offset: 0, batchStrides: [], freeStrides: [free], kStrides: [k] };
}

/** Adds the buffers of `c = sum of a b` to `buffers`, which hold the terms' left operands already. */
function addPart(
  buffers: KernelBuffer[],
  [m, n]: readonly [number, number],
  terms: readonly { readonly a: number; readonly k: number }[],
  turned: Turned = "",
): MatmulPart {
  const add = (name: string, elements: number, access: "read" | "write") =>
    buffers.push(buffer(`${name}${buffers.length}`, elements, access)) - 1;
  const index = (name: string) => ({ kind: "var", type: "i32", name }) as const;
  const row = {
    kind: "binary",
    op: "mul",
    type: "i32",
    a: index("m"),
    b: { kind: "const", type: "i32", value: n },
  } as const;
  return {
    batch: [],
    m: [{ variable: "m", extent: m }],
    n: [{ variable: "n", extent: n }],
    terms: terms.map(({ a, k }) => ({
      a: operand(a, turned === "a" ? [1, m] : [k, 1]),
      b: operand(add("b", k * n, "read"), turned === "b" ? [k, 1] : [1, n]),
      k: [k],
    })),
    epilogue: [{
      kind: "store",
      buffer: add("c", m * n, "write"),
      index: { kind: "binary", op: "add", type: "i32", a: row, b: index("n") },
      value: { kind: "var", type: "f32", name: "acc" },
    }],
  };
}

/** `c = a b`; a letter of `turned` says that the operand is stored transposed. */
export function matmul(m: number, n: number, k: number, turned: Turned = ""): Case {
  const buffers = [buffer("a", m * k)];
  const parts = [addPart(buffers, [m, n], [{ a: 0, k }], turned)];
  const suffix = turned === "" ? "" : ` ${turned}^T`;
  return {
    name: `matmul ${m}x${k}x${n}${suffix}`,
    kernel: { kind: "matmul", name: "matmul", buffers, parts },
    flops: 2 * m * n * k,
  };
}

/** Side by side: queries, keys, values and the inside of an MLP from one input. */
function parts(m: number, k: number): Case {
  const buffers = [buffer("a", m * k)];
  const made = [k, k, k, 4 * k].map((n) => addPart(buffers, [m, n], [{ a: 0, k }]));
  return {
    name: `parts ${m}x${k}x(3*${k}+${4 * k})`,
    kernel: { kind: "matmul", name: "parts", buffers, parts: made },
    flops: 14 * m * k * k,
  };
}

/** Added up: the projections of attention and MLP. */
function terms(m: number, n: number): Case {
  const buffers = [buffer("a0", m * n), buffer("a1", 4 * m * n)];
  const part = addPart(buffers, [m, n], [{ a: 0, k: n }, { a: 1, k: 4 * n }]);
  return {
    name: `terms ${m}x(${n}+${4 * n})x${n}`,
    kernel: { kind: "matmul", name: "terms", buffers, parts: [part] },
    flops: 10 * m * n * n,
  };
}

/** Attention over [batch, tokens, heads, depth], as a ViT's is. */
function attention(batch: number, heads: number, tokens: number, depth: number): Case[] {
  const elements = batch * heads * tokens * depth;
  const matrix = (buffer: number) => ({
    buffer,
    offset: 0,
    batchStrides: [tokens * heads * depth, depth],
    rowStride: heads * depth,
    columnStride: 1,
  });
  const logSumExp = { buffer: 4, offset: 0, batchStrides: [heads * tokens, tokens], rowStride: 1 };
  const shape = {
    batch: [batch, heads],
    queries: tokens,
    keys: tokens,
    depth,
    valueDepth: depth,
    scale: depth ** -0.5,
    queryNorm: undefined,
    keyNorm: undefined,
    q: matrix(0),
    k: matrix(1),
    v: matrix(2),
    out: matrix(3),
    logSumExp,
  };
  const inputs = ["q", "k", "v"].map((name) => buffer(name, elements));
  const sums = (access: "read" | "write") => buffer("logSumExp", batch * heads * tokens, access);
  const flops = 4 * elements * tokens;
  const size = `${batch}x${heads}x${tokens}x${depth}`;
  return [
    {
      name: `attention ${size}`,
      flops,
      kernel: {
        kind: "attention",
        name: "attention",
        buffers: [...inputs, buffer("out", elements, "write"), sums("write")],
        ...shape,
      },
    },
    {
      name: `attention ${size} gradient`,
      flops: 2.5 * flops,
      kernel: {
        kind: "attentionGrad",
        name: "attentionGrad",
        buffers: [
          ...inputs,
          buffer("out", elements),
          sums("read"),
          buffer("outCotangent", elements),
          ...["dq", "dk", "dv"].map((name) => buffer(name, elements, "write")),
        ],
        ...shape,
        outCotangent: matrix(5),
        dq: matrix(6),
        dk: matrix(7),
        dv: matrix(8),
        queryNormGrad: undefined,
        keyNormGrad: undefined,
      },
    },
  ];
}

const CASES: readonly Case[] = [
  matmul(197, 768, 768),
  matmul(197, 3072, 768),
  matmul(197, 768, 3072),
  parts(197, 768),
  terms(197, 768),
  matmul(1576, 3072, 768),
  matmul(512, 512, 512),
  matmul(1024, 1024, 1024),
  matmul(197, 768, 768, "b"),
  matmul(768, 768, 1576, "a"),
  matmul(3200, 64, 64),
  matmul(3200, 256, 64),
  matmul(3200, 64, 256),
  matmul(3200, 64, 256, "b"),
  matmul(64, 64, 3200, "a"),
  matmul(64, 256, 3200, "a"),
  matmul(128, 128, 3200, "a"),
  matmul(8, 1000, 768),
  matmul(4, 1000, 768),
  matmul(1, 1000, 768),
  matmul(1, 768, 768),
  matmul(1, 3072, 768),
  matmul(1, 768, 3072),
  matmul(4, 768, 3072),
  ...attention(2, 12, 197, 64),
  ...attention(8, 3, 197, 64),
  ...attention(64, 4, 50, 32),
  ...attention(1, 8, 1024, 64),
];

interface Loaded {
  readonly units: string;
  readonly scratchBytes: number;
  run(): void;
}

export function load({ kernel }: Case, microkernel: MicrokernelName, isStored: boolean): Loaded {
  const module = new ModuleBuilder();
  const { relaxedSimd } = wasmFeatures();
  const emitted = emitKernel(module, kernel, {
    relaxedSimd,
    microkernel,
    stored: new Set(isStored && kernel.kind === "matmul" ? rightOperands(kernel) : []),
  });
  let end = 64;
  const reserve = (bytes: number) => {
    const start = end;
    end += Math.ceil(bytes / 64) * 64;
    return start;
  };
  const addresses = kernel.buffers.map(({ elements }) => reserve(4 * elements));
  const scratch = [reserve(emitted.privateScratchBytes), reserve(emitted.sharedScratchBytes)];
  const pages = Math.ceil(end / PAGE_BYTES);
  module.importMemory("env", "memory", { pages, shared: true });
  emitted.phases.forEach((phase, index) => module.export(String(index), phase.functionIndex));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  new Float32Array(memory.buffer).fill(1 / 64);
  const compiled = new WebAssembly.Module(module.build());
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const phases = emitted.phases.map(({ units }, index) => ({
    units,
    call: exported(exports, index),
  }));
  return {
    units: phases.map(({ units }) => units).join("+"),
    scratchBytes: emitted.privateScratchBytes + emitted.sharedScratchBytes,
    run() {
      for (const { units, call } of phases) call(0, units, ...addresses, ...scratch);
    },
  };
}

function rightOperands({ parts }: MatmulKernel): number[] {
  return parts.flatMap(({ terms }) => terms.map(({ b }) => b.buffer));
}

function exported(exports: WebAssembly.Exports, name: string | number): CallableFunction {
  const value = exports[name];
  if (typeof value !== "function") throw new TypeError(`The module exports no function ${name}`);
  return value;
}

/** A function of twelve independent chains of multiply-adds: what the vector unit can do at best. */
function loadPeak(): { readonly run: () => void; readonly flops: number } {
  const module = new ModuleBuilder();
  const { relaxedSimd } = wasmFeatures();
  const f = module.function("peak", { params: ["i32"], results: ["f32"] });
  const chains = Array.from({ length: 12 }, () => f.local("v128"));
  const factor = f.local("v128");
  const rounds = f.param(0);
  const unroll = 8;
  // Chains that start differently and are all used, so that none is optimised away.
  chains.forEach((chain, number) => {
    f.f32x4.constSplat(number);
    f.set(chain);
  });
  f.loop((again) => {
    for (const chain of Array.from({ length: unroll }, () => chains).flat()) {
      for (const local of relaxedSimd ? [factor, factor, chain] : [chain, factor, factor]) {
        f.get(local);
      }
      if (relaxedSimd) {
        f.f32x4.relaxed_madd();
      } else {
        f.f32x4.mul();
        f.f32x4.add();
      }
      f.set(chain);
    }
    f.get(rounds);
    f.i32.const(1);
    f.i32.sub();
    f.tee(rounds);
    f.brIf(again);
  });
  chains.forEach((chain, number) => {
    f.get(chain);
    if (number > 0) f.f32x4.add();
  });
  f.f32x4.extract_lane(0);
  module.export("peak", f.index);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()));
  const peak = exported(exports, "peak");
  const count = 20000;
  return { run: () => peak(count), flops: count * unroll * chains.length * 8 };
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

/** Milliseconds of processor time that `run` takes. */
async function measure(run: () => void): Promise<number> {
  const start = performance.now();
  let calls = 0;
  while (performance.now() - start < WARM_UP_MS) {
    const burst = performance.now();
    while (performance.now() - burst < 5) {
      run();
      calls++;
    }
    await pause();
  }
  const atOnce = Math.max(1, Math.ceil((calls / WARM_UP_MS) * SAMPLE_MS));
  let best = Infinity;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const before = process.cpuUsage();
    for (let call = 0; call < atOnce; call++) run();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1000 / atOnce);
    await pause();
  }
  return best;
}

async function main([filter = "", tile = "6x8", layout]: readonly string[]): Promise<void> {
  requireMicrokernel(tile);
  const peak = loadPeak();
  const peakRate = peak.flops / await measure(peak.run) / 1e6;
  console.log(
    `multiply-add peak ${peakRate.toFixed(1)} GFLOP/s, one thread, register tile ${tile}`,
  );
  console.log(`${"".padEnd(34)}   units  scratch        ms  GFLOP/s  of peak`);
  for (const one of CASES) {
    if (!one.name.includes(filter)) continue;
    const loaded = load(one, tile, layout === "stored");
    const milliseconds = await measure(loaded.run);
    const rate = one.flops / milliseconds / 1e6;
    console.log([
      one.name.padEnd(34),
      loaded.units.padStart(7),
      `${Math.ceil(loaded.scratchBytes / 1024)} KiB`.padStart(8),
      milliseconds.toFixed(3).padStart(9),
      rate.toFixed(1).padStart(8),
      `${(100 * rate / peakRate).toFixed(0)} %`.padStart(8),
    ].join(" "));
  }
}

if (import.meta.main) await main(process.argv.slice(2));
