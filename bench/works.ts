/** What is measured: products, models, batches, and how many FLOPs a run of each has. */
import { patchGrid, tokenCount, type VitConfig, vitConfig, vitVariant } from "../models/mod.ts";

/**
 * What the machine gives: fused multiply-adds in registers alone, or of operands from the first cache, or
 * copies in its shared cache.
 */
export interface MachineWork {
  readonly suite: "machine";
  readonly name: string;
}

/** Where a contender's process runs: Deno as it is, or Node.js 26 with V8's revectoriser. */
export type Host = "deno" | "node";

/** What a work is done on: the processor, through WebAssembly or natively, or a GPU. */
export type WorkBackend = "wasm" | "webgpu";

/** A product of an activation [m, k] and a weight [k, n], which stays the same. */
export interface MatmulWork {
  readonly suite: "matmul";
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly host: Host;
  readonly backend: WorkBackend;
}

/** A ViT's logits for a batch of images. */
export interface ForwardWork {
  readonly suite: "forward";
  readonly name: string;
  readonly backend: WorkBackend;
  readonly config: VitConfig;
  readonly batch: number;
  /** Whether it is too much for a driver in software, unless nothing else is asked for. */
  readonly needsGpu?: true;
}

/** A training step to be measured. */
export interface TrainingWork {
  readonly suite: "train";
  readonly name: string;
  readonly backend: WorkBackend;
  readonly config: VitConfig;
  readonly batch: number;
  readonly learningRate: number;
  /** Steps after which the systems' losses are compared. */
  readonly checkedSteps: number;
  /** As {@linkcode ForwardWork.needsGpu}. */
  readonly needsGpu?: true;
}

/** A start in a fresh process: until the program is ready, and until its first run has ended. */
export interface CompileWork {
  readonly suite: "compile";
  readonly name: string;
  readonly forward: ForwardWork;
}

/** One model at several sizes, to see how time grows. */
export interface ScalingWork {
  readonly suite: "scaling";
  readonly name: string;
  /** Batch 1, images of growing size. */
  readonly tokens: readonly ForwardWork[];
  /** One image size, growing batches. */
  readonly batches: readonly ForwardWork[];
}

/** What each dispatch of a GPU costs the host: a model of many kernels that are soon done. */
export interface DispatchWork {
  readonly suite: "dispatch";
  readonly name: string;
  readonly backend: "webgpu";
  readonly forward: ForwardWork;
}

/** Work that is done over and over in one process, and timed. */
export type TimedWork = MatmulWork | ForwardWork | TrainingWork;
export type Work = MachineWork | TimedWork | CompileWork | ScalingWork | DispatchWork;

function matmul(m: number, k: number, n: number, host: Host = "deno"): MatmulWork {
  return { suite: "matmul", name: `matmul ${m}x${k}x${n}`, m, k, n, host, backend: "wasm" };
}

type PaperSize = "Ti" | "S" | "B";

function label(size: PaperSize): string {
  return `vit-${size.toLowerCase()}16`;
}

/** As timm's models run it, and PyTorch exports it. */
const GELU = { gelu: "erf" } as const;

function forward(size: PaperSize, batch: number): ForwardWork {
  const config = vitVariant(`${size}/16`, GELU);
  const name = `${label(size)} forward b${batch}`;
  return { suite: "forward", name, config, batch, backend: "wasm" };
}

function train(size: PaperSize, checkedSteps: number, batch = 8): TrainingWork {
  return {
    suite: "train",
    name: `${label(size)} train b${batch}`,
    backend: "wasm",
    config: vitVariant(`${size}/16`),
    batch,
    learningRate: 1e-4,
    checkedSteps,
  };
}

function scaled(imageSize: number, batch: number): ForwardWork {
  const config = vitVariant("Ti/16", { ...GELU, imageSize });
  const name = `${label("Ti")} scaling n${tokenCount(config)} b${batch}`;
  return { suite: "forward", name, config, batch, backend: "wasm" };
}

/** A ViT for images of 28 pixels, where calls cost more than products. */
const SMALL = {
  imageSize: 28,
  patchSize: 7,
  channels: 1,
  width: 64,
  depth: 4,
  heads: 4,
  mlpWidth: 256,
  classes: 10,
} as const;

/** Outside of the targets: where calls cost more than products. */
const SMALL_TRAINING: TrainingWork = {
  suite: "train",
  name: "vit-small-28px train b64",
  backend: "wasm",
  config: vitConfig(SMALL),
  batch: 64,
  learningRate: 1e-3,
  checkedSteps: 8,
};

/** The same model with as many blocks as large ones, one image. */
const SMALL_FORWARD: ForwardWork = {
  suite: "forward",
  name: "vit-small-28px forward b1",
  backend: "wasm",
  config: vitConfig({ ...SMALL, ...GELU, depth: 12 }),
  batch: 1,
};

/** The work on a GPU. */
function onGpu<W extends TimedWork>(work: W): W {
  return { ...work, name: `webgpu ${work.name}`, backend: "webgpu" };
}

/** All that the benchmark does with `--backend webgpu`. */
export const GPU_WORKS: readonly (TimedWork | DispatchWork)[] = [
  ...[512, 1024, 2048].map((size) => onGpu(matmul(size, size, size))),
  onGpu(forward("Ti", 1)),
  onGpu(forward("B", 1)),
  { ...onGpu(forward("Ti", 32)), needsGpu: true },
  { ...onGpu(forward("B", 32)), needsGpu: true },
  onGpu(train("Ti", 2, 1)),
  { ...onGpu(train("Ti", 2)), needsGpu: true },
  {
    suite: "dispatch",
    name: "webgpu host cost per dispatch",
    backend: "webgpu",
    forward: onGpu(SMALL_FORWARD),
  },
];

/** What the machine can do at best. */
export const PEAK_WORK: MachineWork = { suite: "machine", name: "simd fma peak" };
export const FED_WORK: MachineWork = { suite: "machine", name: "first cache multiply-adds" };
export const COPY_WORK: MachineWork = { suite: "machine", name: "shared cache copies" };

/** All that the benchmark does otherwise, in the order in which it is run. */
export const WORKS: readonly Work[] = [
  PEAK_WORK,
  matmul(197, 768, 768),
  matmul(197, 768, 3072),
  matmul(197, 3072, 768),
  matmul(1024, 1024, 1024),
  matmul(1024, 1024, 1024, "node"),
  forward("S", 1),
  forward("S", 8),
  forward("B", 1),
  forward("B", 8),
  SMALL_TRAINING,
  train("Ti", 2),
  train("S", 2),
  { suite: "compile", name: "vit-b16 compile", forward: forward("B", 1) },
  {
    suite: "scaling",
    name: "vit-ti16 scaling",
    tokens: [224, 320, 448, 592].map((imageSize) => scaled(imageSize, 1)),
    batches: [1, 2, 4, 8, 16, 32].map((batch) => scaled(224, batch)),
  },
];

/**
 * FLOPs of one image's forward pass, matrix products alone: two for each multiplication with its
 * addition. Norms, softmax, gelu and biases are not counted.
 */
export function forwardFlops(config: VitConfig): number {
  const { patchSize, channels, width, depth, mlpWidth, classes } = config;
  const tokens = tokenCount(config);
  const patches = patchGrid(config) ** 2 * patchSize * patchSize * channels * width;
  const projections = 4 * tokens * width * width;
  const attention = 2 * tokens * tokens * width;
  const mlp = 2 * tokens * width * mlpWidth;
  return 2 * (patches + depth * (projections + attention + mlp) + width * classes);
}

/** FLOPs of one run; of a training step three times the forward pass's, as is the custom. */
export function flopsOf(work: TimedWork): number {
  switch (work.suite) {
    case "matmul":
      return 2 * work.m * work.k * work.n;
    case "forward":
      return work.batch * forwardFlops(work.config);
    case "train":
      return 3 * work.batch * forwardFlops(work.config);
  }
}

const HEAVY_FLOPS = 30e9;
/** The same on WebGPU with a driver in software. */
const HEAVY_FLOPS_IN_SOFTWARE = 3e9;

/**
 * Whether a run takes peers up to a second and more: then they are measured with the most threads alone,
 * and with the setting that is known to be their best. Nothing is heavy to a GPU.
 *
 * @param software Whether WebGPU is a driver in software.
 */
export function isHeavy(work: TimedWork, software: boolean): boolean {
  if (work.backend === "wasm") return flopsOf(work) > HEAVY_FLOPS;
  return software && flopsOf(work) > HEAVY_FLOPS_IN_SOFTWARE;
}
