/** What a fusion is, for the test that counts its kernels, and what several of them are made of. */
import type { AttentionForm } from "../../compiler/attention_costs.ts";
import type { FusionRule } from "../../compiler/fusion_rules.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";

/** What kinds of kernels there are, in alphabetical order: `columns matmul matmul`. */
export type Kernels = string;

/** Something that fuses. */
export interface FusionCase {
  readonly name: string;
  readonly results: Readonly<Record<string, Tensor>>;
  /** What the results are differentiated by; nothing where there is no gradient. */
  readonly wrt: Readonly<Record<string, Tensor>>;
  /** The rules that do it; unfused is without them. */
  readonly rules: readonly FusionRule[];
  /** Those that say so, forward or backward; the first when left out. */
  readonly told?: readonly FusionRule[];
  /** The form of attention; one kernel when left out. */
  readonly attention?: AttentionForm;
  readonly forward: FusedCount;
  /** The gradient, given the results' cotangents. */
  readonly gradient?: FusedCount;
  /** Results and gradient in one program. */
  readonly both?: FusedCount;
  /** Error allowed, relative to an output's largest magnitude: what rounding to 16 bits does. */
  readonly tolerance?: number;
}

/** The kernels, and how many there are without the rules. */
export type FusedCount = readonly [kernels: Kernels, unfused: number];

/** An input of f32. */
export const input = (name: string, ...shape: number[]) => g.input(name, "f32", shape);

export const x = input("x", 4, 6, 8);
export const residual = input("residual", 4, 6, 8);
export const scale = input("scale", 8);
export const bias = input("bias", 8);
export const weight = input("weight", 8, 8);
export const key = g.input("key", "u32", [2]);
export const product = g.contract("b n d, d e -> b n e", x, weight);
