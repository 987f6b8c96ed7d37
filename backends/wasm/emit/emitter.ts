/** Emits the value of loop IR expressions, as scalars or as vectors whose lanes are iterations. */
import type { Expr, LoopBuffer, ScalarType } from "../../../compiler/loop_ir.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { isMathFunction, powFunction, pushMath } from "../math/functions.ts";
import { type Push, VectorCode } from "../vector_code.ts";
import { type Access, Addresses, addressName } from "./addresses.ts";
import { ExpressionTable, isTrivial } from "./expression_table.ts";
import { computeLaneByLane, loadLanes } from "./lane_access.ts";
import { roundToBf16, roundToF16 } from "./half_floats.ts";
import { threefryFunction } from "./helper_functions.ts";
import { extractLane, loadScalar, splat } from "./memory_access.ts";
import { Names } from "./resolve.ts";
import {
  divideByConstant,
  isSafeDivisor,
  repeatsOperands,
  scalarBinary,
  scalarBitcast,
  scalarCast,
  scalarConstant,
  scalarUnary,
  valueType,
} from "./scalar_operations.ts";
import { Scope } from "./scope.ts";
import { vectorBinary, vectorBitcast, vectorCast, vectorUnary } from "./vector_operations.ts";
import { areDisjoint } from "./sets.ts";

/** How lanes stand for iterations: lane j of vector u has the variable's value plus 4u + j. */
export interface Lanes {
  readonly variable: string;
  /** Vectors to a step. */
  readonly count: number;
  /** Variables, the loop's own included, that differ between lanes. */
  readonly varying: ReadonlySet<string>;
}

/** The function that is written to, and what its expressions may refer to. */
export interface EmitterContext {
  readonly module: ModuleBuilder;
  readonly f: FunctionBuilder;
  readonly relaxedSimd: boolean;
  readonly buffers: readonly LoopBuffer[];
  /** The local with the byte address of each buffer. */
  readonly addresses: readonly Local[];
}

/** Emits expressions into one function. */
export class Emitter {
  readonly module: ModuleBuilder;
  readonly f: FunctionBuilder;
  readonly code: VectorCode;
  readonly table = new ExpressionTable();
  readonly names = new Names();
  readonly memory: Addresses;
  /** Variables that are scalars; of those that vary by lane, the first lane's value. */
  readonly scalars = new Map<string, Local>();
  /** Variables that vary by lane, other than the lanes' own. */
  readonly vectors = new Map<string, readonly Local[]>();
  #lanes: Lanes | undefined;
  #scopes: Scope[] = [new Scope()];

  constructor(context: EmitterContext) {
    this.module = context.module;
    this.f = context.f;
    this.code = new VectorCode(context.f, context.relaxedSimd);
    const { addressType } = context.module;
    this.memory = new Addresses(this.table, this.names, context.buffers, addressType);
    context.addresses.forEach((local, buffer) => {
      this.names.define(addressName(buffer), 0);
      this.scalars.set(addressName(buffer), local);
    });
  }

  /** How the code now being emitted uses lanes; undefined while it is scalar. */
  get lanes(): Lanes | undefined {
    return this.#lanes;
  }

  /** Emits `body` with other lanes. What it computes stays known. */
  withLanes<T>(lanes: Lanes | undefined, body: () => T): T {
    const outer = this.#lanes;
    this.#lanes = lanes;
    const result = body();
    this.#lanes = outer;
    return result;
  }

  /** Emits `body`, and forgets what it computed. */
  enter<T>(body: () => T): T {
    return this.code.scoped(() => {
      this.#scopes.push(new Scope());
      const result = body();
      this.#scopes.pop();
      return result;
    });
  }

  /** Forgets what was loaded from these buffers: they are about to change. */
  forgetLoads(buffers: ReadonlySet<number>): void {
    if (buffers.size === 0) return;
    const isStale = (expr: Expr): boolean => !areDisjoint(this.table.facts(expr).buffers, buffers);
    for (const scope of this.#scopes) scope.forget(isStale);
  }

  /** Whether the expression differs between lanes. */
  isVarying(expr: Expr): boolean {
    const varying = this.#lanes?.varying;
    return varying !== undefined && !areDisjoint(this.table.facts(expr).variables, varying);
  }

  /** The scalar, evaluated now if that takes instructions. */
  operand(expr: Expr): Push {
    if (isTrivial(expr)) return () => this.pushScalar(expr);
    const local = this.keepScalar(expr);
    return () => this.f.get(local);
  }

  /** A local with the scalar, found again in this scope. */
  keepScalar(expr: Expr): Local {
    const known = this.#find((scope) => scope.scalars.get(expr));
    if (known !== undefined) return known;
    this.#computeScalar(expr);
    const local = this.code.temporary(valueType(expr.type));
    this.f.set(local);
    this.#scope.scalars.set(expr, local);
    return local;
  }

  /** The vector, evaluated now if that takes instructions. */
  vectorOperand(expr: Expr, u: number): Push {
    if (expr.kind === "const") return () => this.pushVector(expr, u);
    const local = this.keepVector(expr, u);
    return () => this.f.get(local);
  }

  /** A local with vector u of the current step, found again in this scope. */
  keepVector(expr: Expr, u: number): Local {
    if (!this.isVarying(expr)) return this.#keepSplat(expr);
    const named = expr.kind === "var" ? this.vectors.get(expr.name)?.[u] : undefined;
    if (named !== undefined) return named;
    const known = this.#find((scope) => scope.vectors.get(expr)?.[u]);
    if (known !== undefined) return known;
    this.#computeVector(expr, u);
    const local = this.code.temporary("v128");
    this.f.set(local);
    const vectors = this.#scope.vectors.get(expr) ?? [];
    vectors[u] = local;
    this.#scope.vectors.set(expr, vectors);
    return local;
  }

  /** Pushes the scalar; of an expression that varies by lane, the first lane's value. */
  pushScalar(expr: Expr): void {
    if (expr.kind === "const") return scalarConstant(this.f, expr.type, expr.value);
    if (expr.kind === "var") return this.f.get(this.variable(expr.name));
    const known = this.#find((scope) => scope.scalars.get(expr));
    if (known !== undefined) return this.f.get(known);
    if (this.table.uses(expr) > 1) return this.f.get(this.keepScalar(expr));
    this.#computeScalar(expr);
  }

  /** Pushes vector u of the current step. */
  pushVector(expr: Expr, u: number): void {
    if (expr.kind === "const") return this.#vectorConstant(expr.type, expr.value)();
    const shared = expr.kind === "var" || this.table.uses(expr) > 1 || !this.isVarying(expr);
    if (shared || this.#find((scope) => scope.vectors.get(expr)?.[u]) !== undefined) {
      return this.f.get(this.keepVector(expr, u));
    }
    this.#computeVector(expr, u);
  }

  /** Where the element at this index of a buffer is. */
  access(buffer: number, index: Expr): Access {
    return this.memory.access(buffer, index);
  }

  /** Pushes the byte address of an access but for its offset. */
  pushAddress(buffer: number, { address }: Access): void {
    const { f } = this;
    if (f.address.type === "i32") return this.pushScalar(address);
    f.get(this.variable(addressName(buffer)));
    if (address.kind === "const" && address.value === 0) return;
    this.pushScalar(address);
    f.address.plus(bytesPerElement(this.memory.buffer(buffer).dtype));
  }

  /** The byte address of an access but for its offset, evaluated now if that takes instructions. */
  addressOperand(buffer: number, access: Access): Push {
    const { type } = this.f.address;
    if (type === "i32") return this.operand(access.address);
    return this.code.keep(() => this.pushAddress(buffer, access), type);
  }

  /** Elements between neighbouring lanes of this index, or undefined. */
  stride(access: Access): number | undefined {
    if (this.#lanes === undefined) return undefined;
    return this.memory.stride(access.index, this.#lanes.variable, this.#lanes.varying);
  }

  /** The local with a variable's scalar value. */
  variable(name: string): Local {
    const local = this.scalars.get(name);
    if (local === undefined) throw new TypeError(`The variable ${name} has no scalar value here`);
    return local;
  }

  get #scope(): Scope {
    const scope = this.#scopes.at(-1);
    if (scope === undefined) throw new TypeError("The emitter has no scope");
    return scope;
  }

  #find<T>(look: (scope: Scope) => T | undefined): T | undefined {
    for (let at = this.#scopes.length - 1; at >= 0; at--) {
      const scope = this.#scopes[at];
      const found = scope && look(scope);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #vectorConstant(type: ScalarType, value: number): Push {
    if (type === "f32") return this.code.f32(Math.fround(value));
    return this.code.i32(type === "bool" ? (value === 0 ? 0 : -1) : value | 0);
  }

  #keepSplat(expr: Expr): Local {
    const known = this.#find((scope) => scope.splats.get(expr));
    if (known !== undefined) return known;
    splat(this.code, expr.type, () => this.pushScalar(expr));
    const local = this.code.temporary("v128");
    this.f.set(local);
    this.#scope.splats.set(expr, local);
    return local;
  }

  #computeScalar(expr: Expr): void {
    const { f, code } = this;
    const push = (part: Expr): Push => () => this.pushScalar(part);
    switch (expr.kind) {
      case "const":
      case "var":
        return this.pushScalar(expr);
      case "unary":
        if (scalarUnary(f, expr.op, expr.type, this.operand(expr.a))) return;
        return this.#scalarThroughVector(expr);
      case "binary":
        if (expr.op === "pow") return this.#scalarThroughVector(expr);
        return this.#scalarBinary(expr);
      case "select":
        push(expr.a)();
        push(expr.b)();
        push(expr.condition)();
        return f.select(valueType(expr.type));
      case "guarded":
        push(expr.condition)();
        return f.if(
          () => this.enter(push(expr.a)),
          () => this.enter(push(expr.b)),
          valueType(expr.type),
        );
      case "cast":
        push(expr.a)();
        return scalarCast(f, expr.a.type, expr.type);
      case "bitcast":
        push(expr.a)();
        return scalarBitcast(f, expr.a.type, expr.type);
      case "load": {
        const access = this.access(expr.buffer, expr.index);
        const { dtype } = this.memory.buffer(expr.buffer);
        const address = (): void => this.pushAddress(expr.buffer, access);
        return loadScalar(code, dtype, address, access.offset);
      }
      case "roundTo":
      case "threefry":
        return this.#scalarThroughVector(expr);
    }
  }

  #scalarBinary(expr: Expr & { readonly kind: "binary" }): void {
    const { f, module } = this;
    const { op, a, b } = expr;
    const push = (part: Expr): Push => () => this.pushScalar(part);
    if ((op === "div" || op === "rem") && isSafeDivisor(b)) {
      return divideByConstant(f, op, a.type, push(a), b.value);
    }
    const operand = (part: Expr): Push =>
      repeatsOperands(op, a.type) ? this.operand(part) : push(part);
    scalarBinary(f, module, op, a.type, operand(a), operand(b));
  }

  /** What is only written for vectors, on four equal lanes: scalars and vectors get the same bits. */
  #scalarThroughVector(expr: WideExpr): void {
    const wide = (part: Expr): Push => {
      const scalar = this.operand(part);
      return this.code.keep(() => splat(this.code, part.type, scalar));
    };
    this.#wideOperation(expr, wide, "scalar");
    const result = this.code.keep(() => {});
    extractLane(this.code, expr.type, result, 0);
  }

  /** Pushes a vector operation, given its operands as locals. `where` tells apart what is shared. */
  #wideOperation(expr: WideExpr, operand: (part: Expr) => Push, where: string): void {
    const { code, module, f } = this;
    switch (expr.kind) {
      case "unary": {
        const x = operand(expr.a);
        if (!isMathFunction(expr.op)) return vectorUnary(code, expr.op, expr.type, x);
        if (expr.type !== "f32") {
          throw new TypeError(`Operation ${expr.op} does not take ${expr.type}`);
        }
        return pushMath(code, module, expr.op, x);
      }
      case "binary": {
        if (expr.type !== "f32") throw new TypeError(`Operation pow does not take ${expr.type}`);
        const [a, b] = [operand(expr.a), operand(expr.b)];
        a();
        b();
        return f.call(powFunction(module));
      }
      case "roundTo":
        return (expr.storage === "f16" ? roundToF16 : roundToBf16)(code, operand(expr.a));
      case "threefry": {
        const [first, second] = this.#threefry(expr, operand, where);
        if (expr.word !== "second") f.get(first);
        if (expr.word !== "first") f.get(second);
        if (expr.word === "xor") f.v128.xor();
      }
    }
  }

  #threefry(
    expr: Expr & { readonly kind: "threefry" },
    operand: (part: Expr) => Push,
    where: string,
  ): readonly [Local, Local] {
    const parts = [expr.key0, expr.key1, expr.counter0, expr.counter1];
    const key = `${where} ${parts.map((part) => this.table.id(part)).join()}`;
    const known = this.#find((scope) => scope.pairs.get(key));
    if (known !== undefined) return known;
    const pushes = parts.map(operand);
    for (const push of pushes) push();
    this.f.call(threefryFunction(this.module));
    const pair = [this.code.temporary("v128"), this.code.temporary("v128")] as const;
    this.f.set(pair[1]);
    this.f.set(pair[0]);
    this.#scope.pairs.set(key, pair);
    return pair;
  }

  #computeVector(expr: Expr, u: number): void {
    const { f, code } = this;
    const push = (part: Expr): Push => () => this.pushVector(part, u);
    const operand = (part: Expr): Push => this.vectorOperand(part, u);
    switch (expr.kind) {
      case "const":
        return this.pushVector(expr, u);
      case "var":
        return this.#laneNumbers(expr, u);
      case "unary":
      case "roundTo":
      case "threefry":
        return this.#wideOperation(expr, operand, String(u));
      case "binary":
        if (expr.op === "pow") return this.#wideOperation(expr, operand, String(u));
        return this.#vectorBinary(expr, u);
      case "select":
        return code.choose(push(expr.condition), push(expr.a), push(expr.b))();
      case "guarded":
        this.pushScalar(expr.condition);
        return f.if(
          () => this.enter(push(expr.a)),
          () => this.enter(push(expr.b)),
          "v128",
        );
      case "cast":
        push(expr.a)();
        return vectorCast(code, expr.a.type, expr.type);
      case "bitcast":
        push(expr.a)();
        return vectorBitcast(code, expr.a.type, expr.type);
      case "load":
        return loadLanes(this, expr, u);
    }
  }

  /** The lanes' own variable: the first lane's value, and what the others are more. */
  #laneNumbers(expr: Expr & { readonly kind: "var" }, u: number): void {
    if (expr.name !== this.#lanes?.variable) {
      throw new TypeError(`The variable ${expr.name} has no vector value here`);
    }
    splat(this.code, expr.type, () => this.pushScalar(expr));
    this.code.lanes([4 * u, 4 * u + 1, 4 * u + 2, 4 * u + 3])();
    this.f.i32x4.add();
  }

  #vectorBinary(expr: Expr & { readonly kind: "binary" }, u: number): void {
    const { f, code } = this;
    const { op, a, b } = expr;
    const push = (part: Expr): Push => () => this.pushVector(part, u);
    if ((op === "max" || op === "min") && a.type === "f32") {
      // With a number on one side, the one-instruction forms keep the other side's NaN.
      const instruction = op === "max" ? f.f32x4.pmax : f.f32x4.pmin;
      if (isNumber(b)) return code.apply(instruction, push(a), push(b))();
      if (isNumber(a)) return code.apply(instruction, push(b), push(a))();
    }
    if ((op === "shiftLeft" || op === "shiftRight") && !this.isVarying(b)) {
      push(a)();
      this.pushScalar(b);
      if (op === "shiftLeft") return f.i32x4.shl();
      return a.type === "u32" ? f.i32x4.shr_u() : f.i32x4.shr_s();
    }
    if (!vectorBinary(code, op, a.type, push(a), push(b))) computeLaneByLane(this, expr, u);
  }
}

/** Expressions whose operation is only written for vectors. */
type WideExpr = Expr & { readonly kind: "unary" | "binary" | "roundTo" | "threefry" };

function isNumber(expr: Expr): boolean {
  return expr.kind === "const" && !Number.isNaN(expr.value);
}
