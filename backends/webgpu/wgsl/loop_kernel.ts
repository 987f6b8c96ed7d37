/**
 * Loop kernels as WGSL. Each item of the kernel's space is one invocation's work, or where it holds
 * long reductions or loops, that of several lanes which share these out and meet in workgroup memory.
 */
import type { Expr, LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { exchangedBuffers, writesAny } from "./exchanges.ts";
import { constantValue } from "./fold.ts";
import { ExpressionWriter } from "./expressions.ts";
import { inlineScratch } from "./inline_scratch.ts";
import {
  independentNest,
  isIndependent,
  type ItemAxis,
  type ItemSpace,
  itemSpace,
  tripsOf,
} from "./item_space.ts";
import { type KeptElement, type KeptPass, keptPasses, keptRoots } from "./kept_rows.ts";
import { chooseLanes } from "./lanes.ts";
import { type Dispatch, type EmitOptions, gridOf, groupNumber, ModuleWriter } from "./module.ts";
import { type LoopHead, LoopWriter, MOST_COPIES, MOST_ROUNDS, roundsIn } from "./rounds.ts";
import {
  declareFold,
  type Fold,
  foldIn,
  foldsInSubgroups,
  type LaneGrid,
  meetInSubgroups,
  meetLanes,
  SharedArrays,
} from "./reductions.ts";
import { sumOf } from "./strides.ts";

type Loop = Statement & { readonly kind: "loop" };
type Reduce = Statement & { readonly kind: "reduce" };

/** The kernel as one dispatch, or none where there is nothing to do. */
export function emitLoopKernel(given: PlainLoopKernel, options: EmitOptions): Dispatch[] {
  const kernel = inlineScratch(given);
  const space = itemSpace(kernel);
  const total = space.axes.reduce((product, { extent }) => product * extent, 1);
  if (total === 0) return [];
  if (total >= 2 ** 31) {
    throw new RangeError(`Kernel ${kernel.name} has ${total} items: wanted less than 2^31`);
  }
  for (let copies = 1; copies <= MOST_COPIES; copies *= 2) {
    const writer = new LoopKernelWriter(kernel, space, total, { ...options, copies });
    const dispatch = writer.write();
    if (!options.software || writer.rounds <= MOST_ROUNDS) return [dispatch];
  }
  throw new RangeError(
    `Kernel ${kernel.name} has loops that go round more often than the ${MOST_ROUNDS} times in all ` +
      "that drivers in software are trusted with: a real GPU, WASM, or smaller sizes run it",
  );
}

/** How to write a loop kernel. */
interface LoopOptions extends EmitOptions {
  /** Rounds of nested loops that are written out in the place of one. */
  readonly copies: number;
}

class LoopKernelWriter {
  readonly #kernel: PlainLoopKernel;
  readonly #space: ItemSpace;
  readonly #total: number;
  readonly #options: LoopOptions;
  readonly #module: ModuleWriter;
  readonly #loopWriter: LoopWriter;
  readonly #writer: ExpressionWriter;
  readonly #grid: LaneGrid;
  readonly #shared: SharedArrays;
  /** Buffers whose memory lanes both write and read: they wait for each other in between. */
  readonly #exchanged: ReadonlySet<number>;
  /** Passes over rows that are written out. */
  readonly #kept: ReadonlyMap<Statement, KeptPass>;
  /** WGSL names of their places. */
  readonly #places = new Map<string, string>();
  /** Whether an item may be none, so that its stores are left out. */
  #mayBeIdle = false;
  /** How many loops what is being written is in. */
  #loops = 0;

  constructor(kernel: PlainLoopKernel, space: ItemSpace, total: number, options: LoopOptions) {
    this.#kernel = kernel;
    this.#space = space;
    this.#total = total;
    this.#options = options;
    this.#module = new ModuleWriter(kernel, options);
    this.#loopWriter = new LoopWriter(this.#module.code, options.copies);
    this.#writer = new ExpressionWriter(this.#module);
    this.#grid = chooseLanes(kernel, space, total, options);
    this.#shared = new SharedArrays(
      this.#module.names,
      this.#grid.columns * this.#grid.lanes,
    );
    const { lanes } = this.#grid;
    this.#kept = lanes === 1 ? new Map() : keptPasses(space.body, lanes);
    this.#writer.share(keptRoots(this.#kept.values()));
    this.#exchanged = exchangedBuffers(space.body, this.#kept, (at) => options.layout.places[at]);
  }

  /** How often an invocation's loops go round, all together. */
  get rounds(): number {
    return this.#loopWriter.rounds;
  }

  write(): Dispatch {
    const { columns, lanes, rows } = this.#grid;
    const { code } = this.#module;
    const side = columns * rows;
    const grid = gridOf(Math.ceil(this.#total / side), this.#options.limits);
    const covered = grid[0] * grid[1] * grid[2] * side;
    if (lanes > 1 && columns > 1) code.add("let column = local.x;");
    // Where no items are side by side, lanes are: there drivers in software look for what runs as one.
    const lane = columns > 1 ? "local.y" : rows > 1 ? `local.x % ${lanes}u` : "local.x";
    if (lanes > 1) code.add(`let lane = ${lane};`);
    const items = side === 1
      ? groupNumber(grid)
      : `${groupNumber(grid)} * ${side}u + local.x${rows > 1 ? ` / ${lanes}u` : ""}`;
    code.add(`let item = i32(${items});`);
    if (lanes === 1 || side === 1) {
      // A whole workgroup leaves, or nobody waits for anybody.
      if (covered > this.#total) code.add(`if (item >= ${this.#total}) { return; }`);
    } else {
      this.#mayBeIdle = covered > this.#total || this.#space.axes.some(({ end }) => end);
      if (this.#mayBeIdle) code.add(`var active_item = item < ${this.#total};`);
    }
    this.#writeAxes();
    if (lanes === 1) this.#serial(this.#space.body);
    else this.#together(this.#space.body);
    const workgroup = columns === 1 ? [lanes * rows, 1] as const : [columns, lanes] as const;
    const wgsl = this.#module.module(workgroup, this.#shared.declarations());
    const { maxComputeWorkgroupStorageSize: most } = this.#options.limits;
    if (this.#shared.bytes > most) {
      throw new RangeError(
        `Kernel ${this.#kernel.name} takes ${this.#shared.bytes} bytes of workgroup memory: ` +
          `the device has ${most}`,
      );
    }
    return { wgsl, grid };
  }

  /** Names each axis' variable of the item, and writes what depends on it alone. */
  #writeAxes(): void {
    const { code, names } = this.#module;
    const { axes } = this.#space;
    let rest = "item";
    const parts: string[] = [];
    for (let at = axes.length - 1; at >= 0; at--) {
      const extent = axes[at]?.extent ?? 1;
      if (at === 0) {
        parts.unshift(this.#mayBeIdle ? `min(${rest}, ${extent - 1})` : rest);
        break;
      }
      parts.unshift(extent === 1 ? "0" : `${rest} % ${extent}`);
      if (extent === 1) continue;
      const next = names.unique("block");
      code.add(`let ${next} = ${rest} / ${extent};`);
      rest = next;
    }
    axes.forEach((axis, at) => this.#writeAxis(axis, parts[at] ?? "0"));
  }

  #writeAxis({ variable, start, end, lets }: ItemAxis, place: string): void {
    const { code } = this.#module;
    const from = start === undefined ? "" : `${this.#writer.value(start)} + `;
    const until = end && this.#writer.value(end);
    const name = this.#module.names.unique(variable);
    if (until === undefined) {
      code.add(`let ${name} = ${from}${place};`);
    } else if (this.#mayBeIdle) {
      const wanted = this.#module.names.unique(`${variable}_wanted`);
      code.add(`let ${wanted} = ${from}${place};`);
      code.add(`active_item = active_item && ${wanted} < ${until};`);
      code.add(`let ${name} = min(${wanted}, ${until} - 1);`);
    } else {
      // Without lanes an invocation leaves by itself; with them all of the item's lanes do.
      code.add(`let ${name} = ${from}${place};`, `if (${name} >= ${until}) { return; }`);
    }
    this.#writer.bind(variable, name);
    for (const statement of lets) this.#let(statement);
  }

  #let(statement: Statement): void {
    if (statement.kind !== "let") throw new TypeError(`A ${statement.kind} is no let`);
    const value = this.#writer.value(statement.value);
    this.#module.code.add(`let ${this.#writer.declare(statement.name)} = ${value};`);
  }

  /** Statements that one invocation runs by itself. */
  #serial(body: readonly Statement[]): void {
    for (const statement of body) {
      switch (statement.kind) {
        case "let":
          this.#let(statement);
          break;
        case "store":
        case "accumulate":
          this.#store(statement);
          break;
        case "loop":
          this.#forLoop(
            statement.range,
            roundsIn(statement.body),
            () => this.#serial(statement.body),
          );
          break;
        case "reduce":
          this.#reduceAlone(statement);
          break;
      }
    }
  }

  #store(statement: Statement & { readonly kind: "store" | "accumulate" }): void {
    const { code, buffers } = this.#module;
    const { buffer } = statement;
    const [index = "", value = ""] = this.#writer.values([statement.index, statement.value]);
    const write = () => {
      if (statement.kind === "store") return code.add(...buffers.store(buffer, index, value));
      const type = statement.value.type;
      const before = buffers.load(buffer, index);
      const sum = type === "bool" ? `(${before} | ${value})` : `${before} + ${value}`;
      code.add(...buffers.store(buffer, index, sum));
    };
    if (this.#mayBeIdle) code.block("if (active_item)", write);
    else write();
  }

  /** @param inner How often loops in it go round. */
  #forLoop(range: LoopRange, inner: number, body: () => void): void {
    const { variable, start, end } = range;
    this.#loops++;
    this.#writer.scope(() => {
      const [from = "", until = ""] = this.#writer.values([start, end]);
      const name = this.#module.names.unique(variable);
      const head = { name, from, until, step: 1, trips: tripsOf(range)?.trips, inner };
      this.#writeLoop(head, () => {
        this.#writer.bind(variable, name);
        body();
      });
    });
    this.#loops--;
  }

  /** Writes a loop; what a round names, no other knows. */
  #writeLoop(head: LoopHead, body: () => void): void {
    this.#loopWriter.write(head, () => this.#writer.scope(body));
  }

  #declareFolds({ accumulators }: Reduce): Fold[] {
    const { code, names, library } = this.#module;
    return accumulators.map((accumulator) => declareFold(code, names, library, accumulator));
  }

  /** Evaluates the reduction's values once and folds them in. */
  #foldOnce({ body, accumulators }: Reduce, folds: readonly Fold[], place: string): void {
    this.#serial(body);
    this.#foldValues(folds, accumulators.map(({ value }) => value), place);
  }

  #foldValues(folds: readonly Fold[], exprs: readonly Expr[], place: string): void {
    const { code, library, names } = this.#module;
    const values = this.#writer.values(exprs);
    folds.forEach((fold, at) => {
      const text = values[at] ?? "";
      if (fold.place === undefined) return foldIn(code, library, fold, text, place);
      const name = names.unique("candidate");
      code.add(`let ${name} = ${text};`);
      foldIn(code, library, fold, name, place);
    });
  }

  #bindFolds(folds: readonly Fold[]): void {
    for (const { accumulator, value, place } of folds) {
      this.#writer.bind(accumulator.name, place ?? value);
    }
  }

  #reduceAlone(statement: Reduce): void {
    const { code, names } = this.#module;
    const folds = this.#declareFolds(statement);
    const counts = statement.accumulators.some(({ op }) => op === "argmax");
    const counter = counts ? names.unique("place") : "";
    if (counts) code.add(`var ${counter} = 0;`);
    const nest = (ranges: readonly LoopRange[]): void => {
      const [range, ...inner] = ranges;
      if (range !== undefined) {
        const rounds = roundsIn([{ ...statement, ranges: inner }]);
        return this.#forLoop(range, rounds, () => nest(inner));
      }
      this.#foldOnce(statement, folds, counter);
      if (counts) code.add(`${counter}++;`);
    };
    this.#writer.scope(() => nest(statement.ranges));
    this.#bindFolds(folds);
  }

  /** Statements that an item's lanes run together: all of them stand at the same one. */
  #together(body: readonly Statement[]): void {
    const { code } = this.#module;
    for (const statement of body) {
      const exchanges = writesAny([statement], this.#exchanged);
      // What another lane still reads, or has yet to read, must not be overtaken.
      if (exchanges) code.add("storageBarrier();");
      switch (statement.kind) {
        case "let":
          this.#let(statement);
          break;
        case "store":
        case "accumulate":
          code.block("if (lane == 0u)", () => this.#writer.scope(() => this.#store(statement)));
          break;
        case "loop":
          this.#loopTogether(statement);
          break;
        case "reduce":
          this.#reduceTogether(statement);
          break;
      }
      if (exchanges) code.add("storageBarrier();");
    }
  }

  #loopTogether(statement: Loop): void {
    const pass = this.#kept.get(statement);
    if (pass !== undefined) {
      this.#writeOut(pass, ({ stores }) => stores.forEach((store) => this.#store(store)));
      return;
    }
    if (!isIndependent(statement, this.#kernel)) {
      const inner = roundsIn(statement.body, this.#grid.lanes);
      this.#forLoop(statement.range, inner, () => this.#together(statement.body));
      return;
    }
    const { ranges, body } = independentNest(statement, this.#kernel);
    this.#writer.scope(() => this.#sharedOut(ranges, roundsIn(body), () => this.#serial(body)));
  }

  #reduceTogether(statement: Reduce): void {
    const { code, library } = this.#module;
    if (statement.ranges.some((range) => tripsOf(range)?.exact !== true)) {
      return this.#reduceAlone(statement);
    }
    const folds = this.#declareFolds(statement);
    const pass = this.#kept.get(statement);
    if (pass === undefined) {
      this.#writer.scope(() =>
        this.#sharedOut(
          statement.ranges,
          roundsIn(statement.body),
          (place) => this.#foldOnce(statement, folds, place),
        )
      );
    } else {
      this.#writeOut(pass, ({ values }, place) => this.#foldValues(folds, values, place));
    }
    const { columns, lanes } = this.#grid;
    const inSubgroups = (fold: Fold) => columns === 1 && foldsInSubgroups(fold.accumulator);
    // Not inside of a loop: there Mesa 22's driver in software never comes to an end.
    const subgroups = this.#loops === 0 && folds.some(inSubgroups)
      ? this.#module.useSubgroups()
      : undefined;
    if (subgroups === undefined) {
      meetLanes(code, library, this.#shared, folds, this.#grid);
    } else {
      meetInSubgroups(code, this.#shared, folds.filter(inSubgroups), lanes, subgroups);
      const others = folds.filter((fold) => !inSubgroups(fold));
      if (others.length > 0) meetLanes(code, library, this.#shared, others, this.#grid);
    }
    this.#bindFolds(folds);
  }

  /** A pass over a row, element by element; `body` gets each one's number in the row. */
  #writeOut(
    { start, end, elements }: KeptPass,
    body: (element: KeptElement, place: string) => void,
  ): void {
    const { code } = this.#module;
    for (const element of elements) {
      const { variable, offset, partial } = element;
      let name = this.#places.get(variable);
      if (name === undefined) {
        name = this.#writer.declare(variable);
        this.#places.set(variable, name);
        code.add(`let ${name} = ${sumOf("i32(lane)", start + offset)};`);
      }
      const place = start === 0 ? name : `(${name} - ${start})`;
      if (partial) {
        code.block(`if (${name} < ${end})`, () => this.#writer.scope(() => body(element, place)));
      } else {
        body(element, place);
      }
    }
  }

  /**
   * Loops whose iterations the lanes share out; `body` gets the flat number of each.
   *
   * @param rounds How often loops in them go round.
   */
  #sharedOut(ranges: readonly LoopRange[], rounds: number, body: (place: string) => void): void {
    const { code, names } = this.#module;
    const { lanes } = this.#grid;
    const extents = ranges.map((range) => tripsOf(range)?.trips ?? 0);
    const total = extents.reduce((product, extent) => product * extent, 1);
    const shared = { step: lanes, trips: Math.ceil(total / lanes), inner: rounds };
    const [first] = ranges;
    if (ranges.length === 1 && first !== undefined) {
      const [from = "", until = ""] = this.#writer.values([first.start, first.end]);
      const name = names.unique(first.variable);
      const start = from === "0" ? "i32(lane)" : `${from} + i32(lane)`;
      this.#writeLoop({ name, from: start, until, ...shared }, () => {
        this.#writer.bind(first.variable, name);
        body(from === "0" ? name : `(${name} - (${from}))`);
      });
      return;
    }
    const flat = names.unique("place");
    this.#writeLoop({ name: flat, from: "i32(lane)", until: `${total}`, ...shared }, () => {
      let inner = total;
      ranges.forEach(({ variable, start }, at) => {
        const extent = extents[at] ?? 1;
        inner /= Math.max(extent, 1);
        const quotient = inner === 1 ? flat : `${flat} / ${inner}`;
        const own = at === 0 ? quotient : `(${quotient}) % ${extent}`;
        const from = constantValue(start) === 0 ? "" : `${this.#writer.value(start)} + `;
        const name = names.unique(variable);
        code.add(`let ${name} = ${from}${own};`);
        this.#writer.bind(variable, name);
      });
      body(flat);
    });
  }
}
