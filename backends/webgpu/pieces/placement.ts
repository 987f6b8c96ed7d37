/**
 * Where kernels' buffers are bound, on devices with any limits. As a rule a kernel is one piece. One that
 * would take more bindings than the device has binds only what it touches; where that is too much still,
 * what lies far apart is copied next to each other for it; and where it is too large for that, the kernel
 * is cut in two, again and again, by whatever leaves each half the least to bind.
 */
import { copyKernel } from "../../../compiler/lower/copy_kernel.ts";
import { roundDown, roundUp } from "../../../compiler/multiples.ts";
import type { Program, StepMember } from "../../../compiler/program.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { withSizes } from "../../../compiler/sizes.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import {
  bindSpans,
  boundBuffers,
  cutRegion,
  emptyOffset,
  joinNeighbours,
  memberBases,
  type MemberBindings,
  overlappingRegions,
  type Region,
  segmentBytes,
  type Span,
  tooManyBindings,
  wholeSpans,
  wholeWords,
} from "../bindings.ts";
import type { GpuCapabilities, GpuLimits } from "../capabilities.ts";
import type { PlainKernel } from "../emit_kernel.ts";
import { inlineScratch } from "../wgsl/inline_scratch.ts";
import { MOST_ROUNDS } from "../wgsl/rounds.ts";
import { attentionRounds } from "./attention_rounds.ts";
import { type Halves, movedBy, replaceVariable } from "./halves.ts";
import { halvesOf } from "./halves_of.ts";
import { separateReads } from "./separate_reads.ts";
import { touchedElements } from "./touched.ts";

/** A kernel, or a part of one, that a dispatch runs. */
export interface Piece extends MemberBindings {
  readonly kernel: PlainKernel;
  /** Which part of the member's kernel it is; empty for all of it. */
  readonly part: string;
}

/** A kernel with the addresses of its bound buffers. */
interface Placed {
  readonly kernel: PlainKernel;
  readonly bases: readonly number[];
  /** How many of them are the program's. */
  readonly own: number;
  readonly part: string;
}

/** Bytes that are copied next to each other for a piece, at most: more are cut. */
const MOST_COPIED = 16 * 2 ** 20;
/** A copy takes as long as this many bytes more in another. */
const BYTES_OF_A_COPY = 2 ** 16;
/** What the widest load of a kernel reads. */
const WIDEST = 16;
/** Halves that touch more than this much of the whole are not worth their dispatches. */
const WORTHWHILE = 0.9;

/** Finds pieces for the members of a program's steps. */
export class Placement {
  readonly #program: Program;
  readonly #alignment: number;
  /** Whether the device is a driver in software, on which loops must not go round too often. */
  readonly #software: boolean;
  readonly #spare: number;
  #end: number;

  constructor(program: Program, { alignment, software }: GpuCapabilities) {
    this.#program = program;
    this.#alignment = alignment;
    this.#software = software;
    this.#spare = this.#up(emptyOffset(program) + alignment);
    this.#end = this.#spare;
  }

  /** Bytes of the arena: the program's memory, and behind it what the pieces so far need besides. */
  get arenaBytes(): number {
    return this.#end;
  }

  /**
   * The pieces that run a member of a step, one after the other.
   *
   * @throws {RangeError} When the device binds too little for any part of the kernel.
   */
  pieces(kernel: PlainKernel, member: StepMember, limits: GpuLimits): Piece[] {
    const bases = memberBases(this.#program, kernel, member);
    const whole = bindSpans(wholeSpans(kernel, bases), limits);
    if (fits(whole, limits) && !this.#isTooLong(kernel)) return [{ ...whole, kernel, part: "" }];
    const plain = kernel.kind === "loops" ? simplified(kernel) : kernel;
    const separate = separateReads(plain);
    const own = separate.sources.map((buffer) => bases[buffer] ?? 0);
    const placed = { kernel: separate.kernel, bases: own, own: own.length, part: "" };
    return this.#cut(placed, limits, this.#spare);
  }

  /** @param top Where memory that nobody uses begins. */
  #cut(placed: Placed, limits: GpuLimits, top: number): Piece[] {
    const { kernel, part } = placed;
    if (this.#isTooLong(kernel)) {
      const shorter = this.#shorter(placed, top);
      this.#end = Math.max(this.#end, shorter.top);
      return shorter.placed.flatMap((half) => this.#cut(half, limits, shorter.top));
    }
    const spans = this.#spans(placed);
    const bindings = bindSpans(spans, limits);
    if (fits(bindings, limits)) return [{ ...bindings, kernel, part }];
    const brought = this.#brought(placed, spans, limits, top);
    if (brought !== undefined) return brought;
    const halves = this.#bestHalves(placed, costOf(spans, bindings), limits, top);
    if (halves === undefined) throw tooManyBindings(kernel, bindings, limits);
    this.#end = Math.max(this.#end, halves.top);
    return halves.placed.flatMap((half) => this.#cut(half, limits, halves.top));
  }

  #isTooLong(kernel: PlainKernel): boolean {
    return this.#software && attentionRounds(kernel) > MOST_ROUNDS;
  }

  /** The halves whose loops go round the least, or else those that may be cut so. */
  #shorter(placed: Placed, top: number) {
    const { kernel, own } = placed;
    const all = halvesOf(kernel, own);
    const roundsOf = ({ kernels }: Halves) => Math.max(...kernels.map(attentionRounds));
    const [best] = all.toSorted((one, other) => roundsOf(one) - roundsOf(other));
    const [first] = all;
    if (best === undefined || first === undefined) {
      throw new RangeError(`Kernel ${kernel.name} is too long for a driver in software`);
    }
    return this.#halves(placed, roundsOf(best) < attentionRounds(kernel) ? best : first, top);
  }

  /** What a kernel touches: from where a binding may begin, to a whole number of what it loads at once. */
  #spans({ kernel, bases }: Placed): (Span | undefined)[] {
    const touched = touchedElements(kernel);
    return boundBuffers(kernel.buffers).map(({ dtype, elements }, at) => {
      const [first, last] = touched[at] ?? [];
      const base = bases[at];
      if (first === undefined || last === undefined || base === undefined) return undefined;
      const bytes = bytesPerElement(dtype);
      return {
        base,
        start: base + roundDown(first * bytes, this.#alignment),
        end: base + Math.min(
          roundUp((last + 1) * bytes, WIDEST),
          wholeWords(elements * bytes),
        ),
      };
    });
  }

  /**
   * The halves that take the fewest bindings, if that is fewer than the whole does; else those that touch the
   * least, if that is worth it; else the same of those whose results are added up; else what may be cut
   * further; else what is better than nothing; else any, since a half that touches as much as the whole
   * may have halves that do not.
   */
  #bestHalves(placed: Placed, whole: Cost, limits: GpuLimits, top: number) {
    const all = halvesOf(placed.kernel, placed.own).map((halves) => {
      const costs = this.#halves(placed, halves, top).placed.map((half) => {
        const spans = this.#spans(half);
        return costOf(spans, bindSpans(spans, limits));
      });
      const bindings = Math.max(...costs.map((cost) => cost.bindings));
      return { halves, bindings, bytes: Math.max(...costs.map(({ bytes }) => bytes)) };
    });
    const byBytes = all.toSorted((a, b) => a.bytes - b.bytes);
    const byBindings = byBytes.toSorted((a, b) => a.bindings - b.bindings);
    const chosen = [
      ...[false, true].flatMap((isAddedUp) => {
        const isOne = ({ halves }: { halves: Halves }) => (halves.isAddedUp ?? false) === isAddedUp;
        return [
          byBindings.find((one) => isOne(one) && one.bindings < whole.bindings),
          byBytes.find((one) => isOne(one) && one.bytes <= WORTHWHILE * whole.bytes),
        ];
      }),
      all.find(({ halves }) => halves.last),
      byBytes.find(({ bytes }) => bytes < whole.bytes),
      byBytes[0],
    ].find((found) => found !== undefined);
    return chosen && this.#halves(placed, chosen.halves, top);
  }

  /** The two with addresses, and where memory that is free then begins. */
  #halves({ bases, own, part }: Placed, { name, kernels, handed }: Halves, top: number) {
    let free = top;
    const handedBases = handed.map(({ dtype, elements }) => {
      const base = free;
      free = this.#up(free + wholeWords(elements * bytesPerElement(dtype)));
      return base;
    });
    const placed = kernels.map((kernel, at): Placed => ({
      kernel,
      bases: [...bases, ...handedBases],
      own,
      part: [...(part === "" ? [] : [part]), `${turnOf(at)}${name}`].join("; "),
    }));
    return { placed, top: free };
  }

  /**
   * The piece with some of what it touches copied next to each other, and back: undefined where that is too
   * much, or not enough.
   */
  #brought(
    { kernel, part }: Placed,
    spans: readonly (Span | undefined)[],
    limits: GpuLimits,
    top: number,
  ): Piece[] | undefined {
    const regions = overlappingRegions(spans);
    const room = Math.min(MOST_COPIED, segmentBytes(limits));
    const groups = joinNeighbours(regions, limits)
      .map(({ members }) => regions.filter((region) => members.includes(region.members[0] ?? -1)))
      .sort((one, other) => copyingCost(one) - copyingCost(other));
    const copied: { readonly region: Region; readonly to: number }[] = [];
    let bytes = 0;
    for (const group of groups) {
      for (const region of group) {
        copied.push({ region, to: bytes });
        bytes += this.#up(region.end - region.start);
      }
      if (bytes > room) return undefined;
      const segment = segmentBytes(limits);
      const start = top % segment + bytes <= segment ? top : roundDown(top, segment) + segment;
      const moved = [...spans];
      for (const { region, to } of copied) {
        for (const at of region.members) moved[at] = shifted(spans[at], start + to - region.start);
      }
      const bindings = bindSpans(moved, limits);
      if (!fits(bindings, limits)) continue;
      this.#end = Math.max(this.#end, start + bytes);
      const written = boundBuffers(kernel.buffers).map(({ access }) => access !== "read");
      const back = copied.filter(({ region }) => region.members.some((at) => written[at]));
      return [
        ...copied.flatMap(({ region, to }) => copies(region, start + to, limits, "to")),
        { ...bindings, kernel, part },
        ...back.flatMap(({ region, to }) => copies(region, start + to, limits, "from")),
      ];
    }
    return undefined;
  }

  #up(bytes: number): number {
    return roundUp(bytes, this.#alignment);
  }
}

/** In front of the name of a cut: which of its kernels it is. No two may have one text. */
function turnOf(at: number): string {
  return at === 0 ? "" : at === 1 ? "not " : `sum ${at - 1} of `;
}

/** What a piece takes. */
interface Cost {
  readonly bindings: number;
  readonly bytes: number;
}

function costOf(spans: readonly (Span | undefined)[], { ranges }: MemberBindings): Cost {
  const bytes = overlappingRegions(spans).reduce((sum, { start, end }) => sum + end - start, 0);
  return { bindings: ranges.length, bytes };
}

function fits({ ranges }: MemberBindings, limits: GpuLimits): boolean {
  return ranges.length <= limits.maxStorageBuffersPerShaderStage;
}

/** The kernel without scratch, and with a number for what has but one value. */
function simplified(kernel: PlainLoopKernel): PlainLoopKernel {
  const { buffers, body, parallel, ...rest } = inlineScratch(kernel);
  return {
    ...rest,
    parallel,
    buffers: boundBuffers(buffers),
    body: replaceVariable(body, parallel.variable, movedBy(0, parallel.extent)),
  };
}

function shifted(span: Span | undefined, by: number): Span | undefined {
  return span && { base: span.base + by, start: span.start + by, end: span.end + by };
}

function copyingCost(regions: readonly Region[]): number {
  return regions.reduce((sum, { start, end }) => sum + end - start + BYTES_OF_A_COPY, 0);
}

/** Copies between a region and a place in one of the arena's buffers. */
function copies(
  region: Region,
  place: number,
  limits: GpuLimits,
  way: "to" | "from",
): Piece[] {
  return cutRegion(region, limits).map((here): Piece => {
    const there = { offset: place + here.offset - region.start, bytes: here.bytes };
    const ranges = way === "to" ? [here, there] : [there, here];
    const places = [{ region: 0, offset: 0 }, { region: 1, offset: 0 }];
    return {
      kernel: withSizes(copyKernel("u32", here.bytes / 4), []),
      part: `copied ${way} where it is bound`,
      layout: { regions: [[here.bytes], [here.bytes]], places },
      ranges,
    };
  });
}
