/**
 * WebAssembly's opcodes, under the names of the core specification (3.0) and the threads proposal.
 * Instructions without immediates stand in one table per namespace; those with a memory operand or
 * a lane have tables of their own.
 */

/** Prefix bytes of the longer opcodes. */
export const PREFIX = { misc: 0xfc, simd: 0xfd, atomic: 0xfe } as const;

/** Encoded value types. */
export const VALUE_TYPES = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
} as const;

/** Types a local, a parameter or a result may have. */
export type ValueType = keyof typeof VALUE_TYPES;

/** `i32.*` without immediates. */
export const I32_OPS = {
  eqz: 0x45,
  eq: 0x46,
  ne: 0x47,
  lt_s: 0x48,
  lt_u: 0x49,
  gt_s: 0x4a,
  gt_u: 0x4b,
  le_s: 0x4c,
  le_u: 0x4d,
  ge_s: 0x4e,
  ge_u: 0x4f,
  add: 0x6a,
  sub: 0x6b,
  mul: 0x6c,
  div_s: 0x6d,
  div_u: 0x6e,
  rem_s: 0x6f,
  rem_u: 0x70,
  and: 0x71,
  or: 0x72,
  xor: 0x73,
  shl: 0x74,
  shr_s: 0x75,
  shr_u: 0x76,
  wrap_i64: 0xa7,
  reinterpret_f32: 0xbc,
} as const;

/** `i64.*` without immediates: what address arithmetic and hashing need. */
export const I64_OPS = {
  eqz: 0x50,
  eq: 0x51,
  ne: 0x52,
  lt_s: 0x53,
  lt_u: 0x54,
  gt_s: 0x55,
  gt_u: 0x56,
  le_s: 0x57,
  le_u: 0x58,
  ge_s: 0x59,
  ge_u: 0x5a,
  add: 0x7c,
  sub: 0x7d,
  mul: 0x7e,
  and: 0x83,
  or: 0x84,
  xor: 0x85,
  shl: 0x86,
  shr_s: 0x87,
  shr_u: 0x88,
  extend_i32_s: 0xac,
  extend_i32_u: 0xad,
} as const;

/** `f32.*` without immediates. */
export const F32_OPS = {
  eq: 0x5b,
  ne: 0x5c,
  lt: 0x5d,
  gt: 0x5e,
  le: 0x5f,
  ge: 0x60,
  abs: 0x8b,
  neg: 0x8c,
  ceil: 0x8d,
  floor: 0x8e,
  trunc: 0x8f,
  nearest: 0x90,
  sqrt: 0x91,
  add: 0x92,
  sub: 0x93,
  mul: 0x94,
  div: 0x95,
  min: 0x96,
  max: 0x97,
  copysign: 0x98,
  convert_i32_s: 0xb2,
  convert_i32_u: 0xb3,
  demote_f64: 0xb6,
  reinterpret_i32: 0xbe,
} as const;

/** `f64.*` without immediates. */
export const F64_OPS = {
  eq: 0x61,
  ne: 0x62,
  lt: 0x63,
  gt: 0x64,
  le: 0x65,
  ge: 0x66,
  abs: 0x99,
  neg: 0x9a,
  ceil: 0x9b,
  floor: 0x9c,
  trunc: 0x9d,
  nearest: 0x9e,
  sqrt: 0x9f,
  add: 0xa0,
  sub: 0xa1,
  mul: 0xa2,
  div: 0xa3,
  min: 0xa4,
  max: 0xa5,
  convert_i32_s: 0xb7,
  convert_i32_u: 0xb8,
  convert_i64_s: 0xb9,
  promote_f32: 0xbb,
} as const;

/** Saturating conversions `i32.trunc_sat_*` (prefix 0xfc). */
export const TRUNC_SAT_OPS = {
  trunc_sat_f32_s: 0,
  trunc_sat_f32_u: 1,
} as const;

/** Scalar loads: opcode and natural alignment in bytes. */
export const I32_LOADS = {
  load: [0x28, 4],
  load8_s: [0x2c, 1],
  load8_u: [0x2d, 1],
  load16_s: [0x2e, 2],
  load16_u: [0x2f, 2],
  store: [0x36, 4],
  store8: [0x3a, 1],
  store16: [0x3b, 2],
} as const;

/** `i64` loads and stores: opcode and natural alignment in bytes. */
export const I64_LOADS = { load: [0x29, 8], store: [0x37, 8] } as const;

/** `f32` loads and stores: opcode and natural alignment in bytes. */
export const F32_LOADS = { load: [0x2a, 4], store: [0x38, 4] } as const;

/** `f64` loads and stores: opcode and natural alignment in bytes. */
export const F64_LOADS = { load: [0x2b, 8], store: [0x39, 8] } as const;

/** `v128` loads and stores (prefix 0xfd): opcode and natural alignment in bytes. */
export const V128_LOADS = {
  load: [0, 16],
  load8x8_s: [1, 8],
  load8x8_u: [2, 8],
  load16x4_s: [3, 8],
  load16x4_u: [4, 8],
  load32x2_s: [5, 8],
  load32x2_u: [6, 8],
  load8_splat: [7, 1],
  load16_splat: [8, 2],
  load32_splat: [9, 4],
  load64_splat: [10, 8],
  store: [11, 16],
  load32_zero: [92, 4],
  load64_zero: [93, 8],
} as const;

/** `v128` loads and stores of one lane (prefix 0xfd): opcode, bytes of a lane. */
export const V128_LANE_LOADS = {
  load8_lane: [84, 1],
  load16_lane: [85, 2],
  load32_lane: [86, 4],
  load64_lane: [87, 8],
  store8_lane: [88, 1],
  store16_lane: [89, 2],
  store32_lane: [90, 4],
  store64_lane: [91, 8],
} as const;

/** `v128.*` (prefix 0xfd) without immediates. */
export const V128_OPS = {
  not: 77,
  and: 78,
  andnot: 79,
  or: 80,
  xor: 81,
  bitselect: 82,
  any_true: 83,
} as const;

/** `i8x16.*` (prefix 0xfd) without immediates. */
export const I8X16_OPS = {
  splat: 15,
  eq: 35,
  ne: 36,
  abs: 96,
  neg: 97,
  shl: 107,
  shr_s: 108,
  shr_u: 109,
  add: 110,
  sub: 113,
  min_s: 118,
  min_u: 119,
  max_s: 120,
  max_u: 121,
} as const;

/** `i16x8.*` (prefix 0xfd) without immediates. */
export const I16X8_OPS = {
  splat: 16,
  eq: 45,
  ne: 46,
  lt_s: 47,
  lt_u: 48,
  gt_s: 49,
  gt_u: 50,
  le_s: 51,
  le_u: 52,
  ge_s: 53,
  ge_u: 54,
  abs: 128,
  neg: 129,
  narrow_i32x4_u: 134,
  shl: 139,
  shr_s: 140,
  shr_u: 141,
  add: 142,
  sub: 145,
  mul: 149,
  min_s: 150,
  min_u: 151,
  max_s: 152,
  max_u: 153,
} as const;

/** `i32x4.*` (prefix 0xfd) without immediates. */
export const I32X4_OPS = {
  splat: 17,
  eq: 55,
  ne: 56,
  lt_s: 57,
  lt_u: 58,
  gt_s: 59,
  gt_u: 60,
  le_s: 61,
  le_u: 62,
  ge_s: 63,
  ge_u: 64,
  abs: 160,
  neg: 161,
  shl: 171,
  shr_s: 172,
  shr_u: 173,
  add: 174,
  sub: 177,
  mul: 181,
  min_s: 182,
  min_u: 183,
  max_s: 184,
  max_u: 185,
  trunc_sat_f32x4_s: 248,
  trunc_sat_f32x4_u: 249,
} as const;

/** `i64x2.*` (prefix 0xfd) without immediates. */
export const I64X2_OPS = {
  splat: 18,
  abs: 192,
  neg: 193,
  shl: 203,
  shr_s: 204,
  shr_u: 205,
  add: 206,
  sub: 209,
  mul: 213,
  eq: 214,
  ne: 215,
  lt_s: 216,
  gt_s: 217,
  le_s: 218,
  ge_s: 219,
  extmul_high_i32x4_s: 221,
} as const;

/** `f32x4.*` (prefix 0xfd) without immediates. */
export const F32X4_OPS = {
  splat: 19,
  eq: 65,
  ne: 66,
  lt: 67,
  gt: 68,
  le: 69,
  ge: 70,
  demote_f64x2_zero: 94,
  ceil: 103,
  floor: 104,
  trunc: 105,
  nearest: 106,
  abs: 224,
  neg: 225,
  sqrt: 227,
  add: 228,
  sub: 229,
  mul: 230,
  div: 231,
  min: 232,
  max: 233,
  pmin: 234,
  pmax: 235,
  convert_i32x4_s: 250,
  convert_i32x4_u: 251,
  relaxed_madd: 0x105,
  relaxed_nmadd: 0x106,
} as const;

/** `f64x2.*` (prefix 0xfd) without immediates. */
export const F64X2_OPS = {
  splat: 20,
  eq: 71,
  ne: 72,
  lt: 73,
  gt: 74,
  le: 75,
  ge: 76,
  promote_low_f32x4: 95,
  ceil: 116,
  floor: 117,
  trunc: 122,
  nearest: 148,
  abs: 236,
  neg: 237,
  sqrt: 239,
  add: 240,
  sub: 241,
  mul: 242,
  div: 243,
  min: 244,
  max: 245,
  pmin: 246,
  pmax: 247,
  relaxed_madd: 0x107,
  relaxed_nmadd: 0x108,
} as const;

/** Instructions with a lane immediate (prefix 0xfd), by namespace. */
export const LANE_OPS = {
  i8x16: { extract_lane_s: 21, extract_lane_u: 22, replace_lane: 23 },
  i16x8: { extract_lane_s: 24, extract_lane_u: 25, replace_lane: 26 },
  i32x4: { extract_lane: 27, replace_lane: 28 },
  i64x2: { extract_lane: 29, replace_lane: 30 },
  f32x4: { extract_lane: 31, replace_lane: 32 },
  f64x2: { extract_lane: 33, replace_lane: 34 },
} as const;

/** 32-bit atomics (prefix 0xfe) whose natural alignment, 4, is also the required one. */
export const I32_ATOMIC_OPS = {
  load: 0x10,
  store: 0x17,
  rmw_add: 0x1e,
  rmw_cmpxchg: 0x48,
} as const;
