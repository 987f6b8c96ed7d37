/** The code that goes over rows of a norm: their statistics, and vectors of several rows at once. */
import { roundUp } from "../../../compiler/multiples.ts";
import type { FunctionBuilder, Local } from "../encoder.ts";
import { type Push, VectorCode } from "../vector_code.ts";
import { acrossLanes } from "./across_lanes.ts";
import { constant, countedLoop, increment, localPlus, whileBelow } from "./control_flow.ts";

/** Vectors of a row at most that one stretch of code goes over without a loop. */
const UNROLLED = 8;

/** Bytes of a row in scratch: whole vectors. */
export function normRowBytes(columns: number): number {
  return 4 * roundUp(columns, 4);
}

/** What the code of a norm depends on. */
export interface NormForm {
  readonly columns: number;
  readonly relaxedSimd: boolean;
  /** Rows are whole vectors of neighbours, which are read where they stand. */
  readonly inPlace: boolean;
  readonly center: boolean;
  readonly hasScale: boolean;
  readonly hasBias: boolean;
}

/** First of the parameters of the functions over rows. */
export const SOURCE_PARAMETERS = ["address", "address", "address", "i32", "f32"] as const;

/** Sums under way at once: each waits for itself before it takes the next vector. */
const CHAINS = 4;

/** A vector's place in rows that are gone over together. */
interface VectorPlace {
  /** Its number in the stretch of code. */
  readonly number: number;
  /** The vector of the row in this position of the list. */
  load(row: number): Push;
  store(row: number, value: Push): void;
  /** The value, with zeros beyond the last column. */
  whole(value: Push): Push;
}

/** A row's mean (if it is taken off) and one over its deviation, in all lanes. */
interface RowStatistics {
  /** Where the row stands as neighbours. */
  readonly row: Local;
  readonly mean: Push | undefined;
  readonly inverse: Push;
}

/** Code that the two functions share; their first parameters are the same. */
export class NormRowCode {
  readonly vector: VectorCode;
  readonly #f: FunctionBuilder;
  readonly #form: NormForm;

  constructor(f: FunctionBuilder, form: NormForm) {
    this.#f = f;
    this.#form = form;
    this.vector = new VectorCode(f, form.relaxedSimd);
  }

  /** Emits the loop over rows. */
  forEachRow(body: () => void): void {
    const f = this.#f;
    const done = f.local("i32");
    whileBelow(f, done, f.param(3), () => {
      body();
      f.get(f.param(0));
      f.get(f.param(1));
      f.address.add();
      f.set(f.param(0));
      increment(f, done, 1);
    });
  }

  /** Brings the row together, in `scratch` unless it is there already, and measures it. */
  statistics(scratch: Local): RowStatistics {
    const f = this.#f;
    const { center, inPlace } = this.#form;
    const row = inPlace ? f.param(0) : scratch;
    if (!inPlace) this.#gather(scratch);
    const sums = this.sums();
    const mean = center ? this.#rowMean(row, sums) : undefined;
    for (const sum of sums) this.clear(sum);
    this.eachVector([row], (at) =>
      this.vector.scoped(() => {
        const value = this.vector.keep(at.whole(this.centered(at.load(0), mean)));
        this.addTo(sums, at, (sum) => this.vector.multiplyAdd(value, value, sum));
      }));
    const variance = this.mean(sums);
    const epsilon: Push = () => {
      f.get(f.param(4));
      f.f32x4.splat();
    };
    const deviation = this.vector.apply(f.f32x4.sqrt, this.vector.add(variance, epsilon));
    const inverse = f.local("v128");
    this.assign(inverse, this.vector.div(this.vector.f32(1), deviation));
    return { row, mean, inverse: () => f.get(inverse) };
  }

  #rowMean(row: Local, sums: readonly Local[]): Push {
    for (const sum of sums) this.clear(sum);
    this.eachVector(
      [row],
      (at) => this.addTo(sums, at, (sum) => this.vector.add(sum, at.load(0))),
    );
    return this.mean(sums);
  }

  /** Locals that together hold one sum. */
  sums(): readonly Local[] {
    return Array.from({ length: CHAINS }, () => this.#f.local("v128"));
  }

  /** Replaces the one of the sums whose turn it is at this vector. */
  addTo(sums: readonly Local[], { number }: VectorPlace, added: (sum: Push) => Push): void {
    const sum = sums[number % CHAINS];
    if (sum === undefined) throw new RangeError(`There is no sum for vector ${number}`);
    this.assign(sum, added(() => this.#f.get(sum)));
  }

  /** Copies the row to neighbours, with zeros after its end. */
  #gather(target: Local): void {
    const f = this.#f;
    f.get(target);
    this.vector.f32(0)();
    f.v128.store(normRowBytes(this.#form.columns) - 16);
    const [from, to, counter] = [f.local("address"), f.local("address"), f.local("i32")];
    f.get(f.param(0));
    f.set(from);
    f.get(target);
    f.set(to);
    countedLoop(f, counter, constant(f, this.#form.columns), 1, () => {
      f.get(to);
      f.get(from);
      f.f32.load();
      f.f32.store();
      f.get(from);
      f.get(f.param(2));
      f.address.add();
      f.set(from);
      increment(f, to, 4);
    });
  }

  clear(local: Local): void {
    this.assign(local, this.vector.f32(0));
  }

  assign(local: Local, value: Push): void {
    value();
    this.#f.set(local);
  }

  /** The sums' total over all lanes, by the row's columns, in all lanes of a local of its own. */
  mean(sums: readonly Local[]): Push {
    const f = this.#f;
    const mean = f.local("v128");
    const total = sums.map((sum): Push => () => f.get(sum))
      .reduce((a, b) => this.vector.add(a, b));
    this.assign(mean, total);
    acrossLanes(f, mean, f.f32x4.add);
    this.assign(mean, this.vector.mul(() => f.get(mean), this.vector.f32(1 / this.#form.columns)));
    return () => f.get(mean);
  }

  centered(value: Push, mean: Push | undefined): Push {
    return mean === undefined ? value : this.vector.sub(value, mean);
  }

  /** Emits `body` for each vector of some rows, long rows in a loop of several. */
  eachVector(rows: readonly Local[], body: (at: VectorPlace) => void): void {
    const f = this.#f;
    const vectors = Math.ceil(this.#form.columns / 4);
    const stretches = vectors <= 2 * UNROLLED ? 0 : Math.floor((vectors - 1) / UNROLLED);
    let addresses = rows;
    if (stretches > 0) {
      addresses = rows.map((row) => localPlus(f, row, 0));
      const counter = f.local("i32");
      countedLoop(f, counter, constant(f, stretches), 1, () => {
        for (let at = 0; at < UNROLLED; at++) body(this.#place(addresses, at, false));
        for (const address of addresses) increment(f, address, 16 * UNROLLED);
      });
    }
    const rest = vectors - stretches * UNROLLED;
    for (let at = 0; at < rest; at++) body(this.#place(addresses, at, at === rest - 1));
  }

  #place(addresses: readonly Local[], vector: number, isLast: boolean): VectorPlace {
    const f = this.#f;
    const address = (row: number) => {
      const local = addresses[row];
      if (local === undefined) throw new RangeError(`There is no row ${row}`);
      f.get(local);
    };
    const rest = isLast ? this.#form.columns % 4 : 0;
    const lane = (at: number) => rest === 0 || at < rest ? -1 : 0;
    return {
      number: vector,
      load: (row) => () => {
        address(row);
        f.v128.load(16 * vector);
      },
      store: (row, value) => {
        address(row);
        value();
        f.v128.store(16 * vector);
      },
      whole: (value) =>
        rest === 0
          ? value
          : this.vector.and(value, this.vector.lanes([lane(0), lane(1), lane(2), lane(3)])),
    };
  }
}
