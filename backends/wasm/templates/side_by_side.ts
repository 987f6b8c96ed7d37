/** Runs several emitted kernels as one: their units of each phase make one list. */
import type { KernelBuffer } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { clamp, getPlus } from "./control_flow.ts";
import {
  type EmittedKernel,
  type KernelFunction,
  kernelFunction,
  type KernelPhase,
  ScratchLayout,
} from "./template.ts";

/** One of the kernels' phases among the units of all. */
interface Share extends KernelPhase {
  readonly firstUnit: number;
  /** Where its kernel's part of the shared scratch begins. */
  readonly sharedOffset: number;
}

/**
 * The kernels as one; all see the same buffers. A thread runs one unit after the other, so they use
 * the same private scratch; shared scratch they have each for themselves.
 */
export function runSideBySide(
  module: ModuleBuilder,
  name: string,
  buffers: readonly KernelBuffer[],
  kernels: readonly EmittedKernel[],
): EmittedKernel {
  const [only] = kernels;
  if (only !== undefined && kernels.length === 1) return only;
  const shared = new ScratchLayout();
  const sharedOffsets = kernels.map((kernel) => shared.reserve(kernel.sharedScratchBytes));
  const phaseCount = Math.max(...kernels.map((kernel) => kernel.phases.length));
  const phases = Array.from({ length: phaseCount }, (_, index): KernelPhase => {
    let units = 0;
    const shares = kernels.flatMap(({ phases }, position): Share[] => {
      const phase = phases[index];
      if (phase === undefined) return [];
      const firstUnit = units;
      units += phase.units;
      return [{ ...phase, firstUnit, sharedOffset: sharedOffsets[position] ?? 0 }];
    });
    const functionIndex = emitDispatch(module, `${name}_phase${index}`, buffers, shares);
    const grain = shares.every((share) => share.grain !== undefined)
      ? { grain: Math.max(...shares.map((share) => share.grain ?? 1)) }
      : {};
    return { functionIndex, units, ...grain };
  });
  return {
    phases,
    privateScratchBytes: Math.max(...kernels.map((kernel) => kernel.privateScratchBytes)),
    sharedScratchBytes: shared.bytes,
  };
}

/** Emits the function that hands each of the phases its share of the units from `lo` to `hi`. */
function emitDispatch(
  module: ModuleBuilder,
  name: string,
  buffers: readonly KernelBuffer[],
  shares: readonly Share[],
): number {
  const fn = kernelFunction(module, name, buffers);
  const { f } = fn;
  const [low, high] = [f.local("i32"), f.local("i32")];
  for (const share of shares) {
    setUnit(f, low, fn.lo, share);
    setUnit(f, high, fn.hi, share);
    f.get(low);
    f.get(high);
    f.i32.lt_u();
    f.if(() => callShare(fn, low, high, share));
  }
  return f.index;
}

/** Sets `target` to the share's unit that is unit `unit` of all, or the nearest one (the end included). */
function setUnit(f: FunctionBuilder, target: Local, unit: Local, share: Share): void {
  const { firstUnit, units } = share;
  f.get(unit);
  f.set(target);
  clamp(f, target, firstUnit, firstUnit + units);
  getPlus(f, target, -firstUnit);
  f.set(target);
}

function callShare(fn: KernelFunction, low: Local, high: Local, share: Share): void {
  const { f } = fn;
  f.get(low);
  f.get(high);
  for (const local of fn.bufferAddresses) f.get(local);
  f.get(fn.privateScratch);
  getPlus(f, fn.sharedScratch, share.sharedOffset);
  f.call(share.functionIndex);
}
