// rows_broadcast_1x320
//   broadcast

@group(0) @binding(0) var<storage, read_write> out_broadcast: array<f32, 320>;


@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  let block = item / 320;
  let u = block;
  let c = item % 320;
  out_broadcast[c] = 1.0;
}

// attention_normedAttention_normedAttentionLogSumExp_2x40x64x8
//   normedAttention
//   normedAttentionLogSumExp
//
// Here: the statistics of rows

@group(0) @binding(0) var<storage, read_write> in_q: array<f32, 640>;
@group(0) @binding(1) var<storage, read_write> in_k: array<f32, 1024>;
@group(0) @binding(2) var<storage, read_write> in_scale: array<f32, 8>;
@group(0) @binding(3) var<storage, read_write> in_v: array<f32, 512>;
@group(0) @binding(4) var<storage, read_write> out_normedAttention: array<f32, 320>;
@group(0) @binding(5) var<storage, read_write> out_normedAttentionLogSumExp: array<f32, 80>;
@group(0) @binding(6) var<storage, read_write> kernel_workspace: array<f32, 160>;


@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  if (item >= 80) { return; }
  let row = item;
  var total0: f32 = 0.0;
  for (var column_1 = 0; column_1 < 8; column_1++) {
    total0 = total0 + in_q[((row * 8) + column_1)];
  }
  let mean0 = (total0 / 8.0);
  kernel_workspace[(row * 2)] = mean0;
  var squares0: f32 = 0.0;
  for (var column_2 = 0; column_2 < 8; column_2++) {
    let sub_value = (in_q[((row * 8) + column_2)] - mean0);
    squares0 = squares0 + (sub_value * sub_value);
  }
  kernel_workspace[((row * 2) + 1)] = (1.0 / sqrt(((squares0 / 8.0) + 9.99999997e-7)));
}

// attention_normedAttention_normedAttentionLogSumExp_2x40x64x8
//   normedAttention
//   normedAttentionLogSumExp

@group(0) @binding(0) var<storage, read_write> in_q: array<vec4<f32>, 160>;
@group(0) @binding(1) var<storage, read_write> in_k: array<vec4<f32>, 256>;
@group(0) @binding(2) var<storage, read_write> in_scale: array<vec4<f32>, 2>;
@group(0) @binding(3) var<storage, read_write> in_v: array<vec4<f32>, 128>;
@group(0) @binding(4) var<storage, read_write> out_normedAttention: array<vec4<f32>, 80>;
@group(0) @binding(5) var<storage, read_write> out_normedAttentionLogSumExp: array<f32, 80>;
@group(0) @binding(6) var<storage, read_write> kernel_workspace: array<f32, 160>;
var<workgroup> weights: array<vec4<f32>, 256>;
var<workgroup> shared_rows: array<vec4<f32>, 64>;

var<private> infinity_bits: u32 = 0x7f800000u;
fn infinity_f32() -> f32 { return bitcast<f32>(infinity_bits); }
// exp(r) - 1 and 2^n for an exponent of 2 n ln2 + r.
struct ReducedExponent { rest: f32, power: f32 }
fn reduce_exponent(x: f32) -> ReducedExponent {
  let n = round(x * 0.721347511);
  let r = (x - n * 1.38671875) - n * (-0.000424388883);
  let rest = r * r * (((((0.000196118533 * r + 0.00141042634) * r + 0.00833609793) * r + 0.0416612774) * r + 0.16666615) * r + 0.500000358) + r;
  return ReducedExponent(rest, bitcast<f32>((i32(n) + 127) << 23u));
}
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn exp_f32(x: f32) -> f32 {
  let reduced = reduce_exponent(clamp(x, -104.0, 89.0));
  let value = (reduced.rest + 1.0) * reduced.power * reduced.power;
  return select(value, x, is_nan(x));
}
// 2^exponent * (1 + rest).
struct SplitNumber { exponent: f32, rest: f32 }
fn split_number(x: f32) -> SplitNumber {
  let bits = bitcast<i32>(x) - 0x3f3504f3;
  let mantissa = bitcast<f32>((bits & 0x007fffff) + 0x3f3504f3);
  return SplitNumber(f32(bits >> 23u), mantissa - 1.0);
}
fn log_of_split(x: SplitNumber, correction: f32) -> f32 {
  let f = x.rest;
  let square = f * f;
  let cubic = square * f * ((((((((-0.0763447434) * f + 0.127615675) * f + (-0.13160187)) * f + 0.142017588) * f + (-0.166233569)) * f + 0.200012267) * f + (-0.250008196)) * f + 0.333333313);
  let tail = ((cubic + x.exponent * (-0.000212194442)) + correction) - 0.5 * square;
  return x.exponent * 0.693359375 + (f + tail);
}
var<private> nan_bits: u32 = 0x7fc00000u;
fn nan_f32() -> f32 { return bitcast<f32>(nan_bits); }
fn log_with_limits(x: f32, value: f32) -> f32 {
  if (is_nan(x) || bitcast<u32>(x) == 0x7f800000u) { return x; }
  if (x == 0.0) { return -infinity_f32(); }
  if (x < 0.0) { return nan_f32(); }
  return value;
}
fn log_f32(x: f32) -> f32 {
  let tiny = x < 1.17549435e-38;
  var split = split_number(select(x, x * 8388608.0, tiny));
  split.exponent -= select(0.0, 23.0, tiny);
  return log_with_limits(x, log_of_split(split, 0.0));
}
fn exp_of_four(x: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w));
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  let batch = tile / 2;
  let chunk = 0;
  let first_row = (tile % 2) * 32;
  let own_column = (invocation % 8) * 4;
  let own_row = (invocation / 8) * 4;
  let result_column = (invocation % 8) * 4;
  var result0_0_0 = vec4<f32>();
  var result0_1_0 = vec4<f32>();
  var result0_2_0 = vec4<f32>();
  var result0_3_0 = vec4<f32>();
  let query_base = batch * 320;
  let query_statistics = batch * 80;
  let key_base = batch * 512;
  let value_base = batch * 256;
  let query_at_0_place = min(first_row + own_row, 39);
  let query_at_0 = query_base + query_at_0_place * 8;
  let query_at_1_place = min(first_row + own_row + 1, 39);
  let query_at_1 = query_base + query_at_1_place * 8;
  let query_at_2_place = min(first_row + own_row + 2, 39);
  let query_at_2 = query_base + query_at_2_place * 8;
  let query_at_3_place = min(first_row + own_row + 3, 39);
  let query_at_3 = query_base + query_at_3_place * 8;
  let query_mean_0 = vec4<f32>(kernel_workspace[query_statistics + query_at_0_place * 2], kernel_workspace[query_statistics + query_at_1_place * 2], kernel_workspace[query_statistics + query_at_2_place * 2], kernel_workspace[query_statistics + query_at_3_place * 2]);
  let query_inverse_0 = vec4<f32>(kernel_workspace[query_statistics + query_at_0_place * 2 + 1], kernel_workspace[query_statistics + query_at_1_place * 2 + 1], kernel_workspace[query_statistics + query_at_2_place * 2 + 1], kernel_workspace[query_statistics + query_at_3_place * 2 + 1]);
  let value_at_0_place = min(result_column, 0);
  let value_at_0 = value_base + value_at_0_place;
  // Of the four rows: the largest score so far, and the sum of weights.
  var maximum = vec4<f32>(-infinity_f32());
  var total = vec4<f32>();
  for (var first_column = 0; first_column < 64; first_column += 32) {
    let count = 32;
    let key_at_0_place = first_column + own_column;
    let key_at_0 = key_base + key_at_0_place * 8;
    let key_at_1_place = first_column + own_column + 1;
    let key_at_1 = key_base + key_at_1_place * 8;
    let key_at_2_place = first_column + own_column + 2;
    let key_at_2 = key_base + key_at_2_place * 8;
    let key_at_3_place = first_column + own_column + 3;
    let key_at_3 = key_base + key_at_3_place * 8;
    var score_0 = vec4<f32>();
    var score_1 = vec4<f32>();
    var score_2 = vec4<f32>();
    var score_3 = vec4<f32>();
    for (var k = 0; k < 8; k += 4) {
      let query_scale = in_scale[(k) >> 2u];
      let query_own_0 = (in_q[(query_at_0 + k) >> 2u] - query_mean_0.x) * query_inverse_0.x * query_scale;
      let query_own_1 = (in_q[(query_at_1 + k) >> 2u] - query_mean_0.y) * query_inverse_0.y * query_scale;
      let query_own_2 = (in_q[(query_at_2 + k) >> 2u] - query_mean_0.z) * query_inverse_0.z * query_scale;
      let query_own_3 = (in_q[(query_at_3 + k) >> 2u] - query_mean_0.w) * query_inverse_0.w * query_scale;
      let key_own_0 = in_k[(key_at_0 + k) >> 2u];
      let key_own_1 = in_k[(key_at_1 + k) >> 2u];
      let key_own_2 = in_k[(key_at_2 + k) >> 2u];
      let key_own_3 = in_k[(key_at_3 + k) >> 2u];
      score_0 = fma(vec4<f32>(query_own_0.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_0);
      score_1 = fma(vec4<f32>(query_own_1.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_1);
      score_2 = fma(vec4<f32>(query_own_2.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_2);
      score_3 = fma(vec4<f32>(query_own_3.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_3);
      score_0 = fma(vec4<f32>(query_own_0.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_0);
      score_1 = fma(vec4<f32>(query_own_1.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_1);
      score_2 = fma(vec4<f32>(query_own_2.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_2);
      score_3 = fma(vec4<f32>(query_own_3.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_3);
      score_0 = fma(vec4<f32>(query_own_0.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_0);
      score_1 = fma(vec4<f32>(query_own_1.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_1);
      score_2 = fma(vec4<f32>(query_own_2.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_2);
      score_3 = fma(vec4<f32>(query_own_3.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_3);
      score_0 = fma(vec4<f32>(query_own_0.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_0);
      score_1 = fma(vec4<f32>(query_own_1.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_1);
      score_2 = fma(vec4<f32>(query_own_2.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_2);
      score_3 = fma(vec4<f32>(query_own_3.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_3);
    }
    score_0 *= 0.353553385;
    score_1 *= 0.353553385;
    score_2 *= 0.353553385;
    score_3 *= 0.353553385;
    let before = maximum;
    shared_rows[invocation] = vec4<f32>(max(max(score_0.x, score_0.y), max(score_0.z, score_0.w)), max(max(score_1.x, score_1.y), max(score_1.z, score_1.w)), max(max(score_2.x, score_2.y), max(score_2.z, score_2.w)), max(max(score_3.x, score_3.y), max(score_3.z, score_3.w)));
    workgroupBarrier();
    for (var at = 0; at < 8; at++) {
      maximum = max(maximum, shared_rows[invocation / 8 * 8 + at]);
    }
    // With no weight on any key so far, nothing is to be scaled.
    let shift = select(maximum, vec4<f32>(), maximum == vec4<f32>(-infinity_f32()));
    let rescale = exp_of_four(before - shift);
    score_0 = exp_of_four(score_0 - shift.x);
    score_1 = exp_of_four(score_1 - shift.y);
    score_2 = exp_of_four(score_2 - shift.z);
    score_3 = exp_of_four(score_3 - shift.w);
    total = total * rescale + vec4<f32>((score_0.x + score_0.y) + (score_0.z + score_0.w), (score_1.x + score_1.y) + (score_1.z + score_1.w), (score_2.x + score_2.y) + (score_2.z + score_2.w), (score_3.x + score_3.y) + (score_3.z + score_3.w));
    weights[own_column * 8 + own_row / 4] = vec4<f32>(score_0.x, score_1.x, score_2.x, score_3.x);
    weights[(own_column + 1) * 8 + own_row / 4] = vec4<f32>(score_0.y, score_1.y, score_2.y, score_3.y);
    weights[(own_column + 2) * 8 + own_row / 4] = vec4<f32>(score_0.z, score_1.z, score_2.z, score_3.z);
    weights[(own_column + 3) * 8 + own_row / 4] = vec4<f32>(score_0.w, score_1.w, score_2.w, score_3.w);
    result0_0_0 *= rescale.x;
    result0_1_0 *= rescale.y;
    result0_2_0 *= rescale.z;
    result0_3_0 *= rescale.w;
    workgroupBarrier();
    {
      var tile_column = 0;
      for (; tile_column < count; tile_column++) {
        let k = first_column + tile_column;
        let value_own_0_0 = in_v[(value_at_0 + k * 4) >> 2u];
        let weights_0 = weights[tile_column * 8 + own_row / 4];
        result0_0_0 = fma(vec4<f32>(weights_0.x), value_own_0_0, result0_0_0);
        result0_1_0 = fma(vec4<f32>(weights_0.y), value_own_0_0, result0_1_0);
        result0_2_0 = fma(vec4<f32>(weights_0.z), value_own_0_0, result0_2_0);
        result0_3_0 = fma(vec4<f32>(weights_0.w), value_own_0_0, result0_3_0);
      }
    }
  }
  let own_total = total;
  total = vec4<f32>();
  shared_rows[invocation] = own_total;
  workgroupBarrier();
  for (var at = 0; at < 8; at++) {
    total += shared_rows[invocation / 8 * 8 + at];
  }
  let factor = 1.0 / total;
  result0_0_0 *= factor.x;
  result0_1_0 *= factor.y;
  result0_2_0 *= factor.z;
  result0_3_0 *= factor.w;
  {
    var values = array<vec4<f32>, 4>(result0_0_0, result0_1_0, result0_2_0, result0_3_0);
    for (var at = 0; at < 4; at++) {
      let row = first_row + own_row + at;
      let column_1 = result_column;
      if (row < 40 && column_1 < 4) {
        out_normedAttention[(batch * 160 + row * 4 + column_1) >> 2u] = values[at];
      }
    }
  }
  if (own_column == 0) {
    for (var row = 0; row < 4; row++) {
      let place = first_row + own_row + row;
      if (place < 40) {
        out_normedAttentionLogSumExp[batch * 40 + place] = maximum[row] + log_f32(total[row]);
      }
    }
  }
}

// attentionGrad_normedAttentionGradQueryScale_2x40x64x8
//   normedAttentionGradQueryScale
//
// Here: the statistics of rows

@group(0) @binding(0) var<storage, read_write> in_q: array<f32, 640>;
@group(0) @binding(1) var<storage, read_write> in_k: array<f32, 1024>;
@group(0) @binding(2) var<storage, read_write> in_v: array<f32, 512>;
@group(0) @binding(3) var<storage, read_write> in_normedAttention: array<f32, 320>;
@group(0) @binding(4) var<storage, read_write> in_normedAttentionLogSumExp: array<f32, 80>;
@group(0) @binding(5) var<storage, read_write> in_broadcast: array<f32, 320>;
@group(0) @binding(6) var<storage, read_write> in_scale_out_normedAttentionGradQueryScale: array<f32, 72>;
@group(0) @binding(7) var<storage, read_write> kernel_workspace: array<f32, 192>;


@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  if (item >= 80) { return; }
  let row = item;
  var total0: f32 = 0.0;
  for (var column_1 = 0; column_1 < 8; column_1++) {
    total0 = total0 + in_q[((row * 8) + column_1)];
  }
  let mean0 = (total0 / 8.0);
  kernel_workspace[(row * 2)] = mean0;
  var squares0: f32 = 0.0;
  for (var column_2 = 0; column_2 < 8; column_2++) {
    let sub_value = (in_q[((row * 8) + column_2)] - mean0);
    squares0 = squares0 + (sub_value * sub_value);
  }
  kernel_workspace[((row * 2) + 1)] = (1.0 / sqrt(((squares0 / 8.0) + 9.99999997e-7)));
}

// attentionGrad_normedAttentionGradQueryScale_2x40x64x8
//   normedAttentionGradQueryScale

@group(0) @binding(0) var<storage, read_write> in_q: array<vec4<f32>, 160>;
@group(0) @binding(1) var<storage, read_write> in_k: array<vec4<f32>, 256>;
@group(0) @binding(2) var<storage, read_write> in_v: array<vec4<f32>, 128>;
@group(0) @binding(3) var<storage, read_write> in_normedAttention: array<vec4<f32>, 80>;
@group(0) @binding(4) var<storage, read_write> in_normedAttentionLogSumExp: array<f32, 80>;
@group(0) @binding(5) var<storage, read_write> in_broadcast: array<vec4<f32>, 80>;
@group(0) @binding(6) var<storage, read_write> in_scale_out_normedAttentionGradQueryScale: array<f32, 72>;
@group(0) @binding(7) var<storage, read_write> kernel_workspace: array<f32, 192>;
var<workgroup> score_grads: array<vec4<f32>, 256>;
var<workgroup> numbers: array<vec2<f32>, 32>;
var<workgroup> shared_rows: array<vec4<f32>, 64>;

// exp(r) - 1 and 2^n for an exponent of 2 n ln2 + r.
struct ReducedExponent { rest: f32, power: f32 }
fn reduce_exponent(x: f32) -> ReducedExponent {
  let n = round(x * 0.721347511);
  let r = (x - n * 1.38671875) - n * (-0.000424388883);
  let rest = r * r * (((((0.000196118533 * r + 0.00141042634) * r + 0.00833609793) * r + 0.0416612774) * r + 0.16666615) * r + 0.500000358) + r;
  return ReducedExponent(rest, bitcast<f32>((i32(n) + 127) << 23u));
}
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn exp_f32(x: f32) -> f32 {
  let reduced = reduce_exponent(clamp(x, -104.0, 89.0));
  let value = (reduced.rest + 1.0) * reduced.power * reduced.power;
  return select(value, x, is_nan(x));
}
fn exp_of_four(x: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w));
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  let batch = tile / 2;
  let chunk = 0;
  let first_row = (tile % 2) * 32;
  let own_column = (invocation % 8) * 4;
  let own_row = (invocation / 8) * 4;
  let result_column = (invocation % 8) * 4;
  var result0_0_0 = vec4<f32>();
  var result0_1_0 = vec4<f32>();
  var result0_2_0 = vec4<f32>();
  var result0_3_0 = vec4<f32>();
  let query_base = batch * 320;
  let query_statistics = batch * 80;
  let row_value_base = batch * 160;
  let key_base = batch * 512;
  let column_value_base = batch * 256;
  let delta_out_base = batch * 160;
  let delta_cotangent_base = batch * 160;
  let summed_base = batch * 512;
  let query_at_0_place = min(first_row + own_row, 39);
  let query_at_0 = query_base + query_at_0_place * 8;
  let query_at_1_place = min(first_row + own_row + 1, 39);
  let query_at_1 = query_base + query_at_1_place * 8;
  let query_at_2_place = min(first_row + own_row + 2, 39);
  let query_at_2 = query_base + query_at_2_place * 8;
  let query_at_3_place = min(first_row + own_row + 3, 39);
  let query_at_3 = query_base + query_at_3_place * 8;
  let query_mean_0 = vec4<f32>(kernel_workspace[query_statistics + query_at_0_place * 2], kernel_workspace[query_statistics + query_at_1_place * 2], kernel_workspace[query_statistics + query_at_2_place * 2], kernel_workspace[query_statistics + query_at_3_place * 2]);
  let query_inverse_0 = vec4<f32>(kernel_workspace[query_statistics + query_at_0_place * 2 + 1], kernel_workspace[query_statistics + query_at_1_place * 2 + 1], kernel_workspace[query_statistics + query_at_2_place * 2 + 1], kernel_workspace[query_statistics + query_at_3_place * 2 + 1]);
  let row_value_at_0_place = min(first_row + own_row, 39);
  let row_value_at_0 = row_value_base + row_value_at_0_place * 4;
  let row_value_at_1_place = min(first_row + own_row + 1, 39);
  let row_value_at_1 = row_value_base + row_value_at_1_place * 4;
  let row_value_at_2_place = min(first_row + own_row + 2, 39);
  let row_value_at_2 = row_value_base + row_value_at_2_place * 4;
  let row_value_at_3_place = min(first_row + own_row + 3, 39);
  let row_value_at_3 = row_value_base + row_value_at_3_place * 4;
  let summed_at_0_place = min(result_column, 4);
  let summed_at_0 = summed_base + summed_at_0_place;
  if (invocation < 32) {
    let query_row = min(first_row + invocation, 39);
    let delta_out_at_0_place = min(first_row + invocation, 39);
    let delta_out_at_0 = delta_out_base + delta_out_at_0_place * 4;
    let delta_cotangent_at_0_place = min(first_row + invocation, 39);
    let delta_cotangent_at_0 = delta_cotangent_base + delta_cotangent_at_0_place * 4;
    var partial_sums = vec4<f32>();
    for (var k = 0; k < 4; k += 4) {
      let delta_out_own_0 = in_normedAttention[(delta_out_at_0 + k) >> 2u];
      let delta_cotangent_own_0 = in_broadcast[(delta_cotangent_at_0 + k) >> 2u];
      partial_sums.x = fma(delta_out_own_0.x, delta_cotangent_own_0.x, partial_sums.x);
      partial_sums.y = fma(delta_out_own_0.y, delta_cotangent_own_0.y, partial_sums.y);
      partial_sums.z = fma(delta_out_own_0.z, delta_cotangent_own_0.z, partial_sums.z);
      partial_sums.w = fma(delta_out_own_0.w, delta_cotangent_own_0.w, partial_sums.w);
    }
    let delta = (partial_sums.x + partial_sums.y) + (partial_sums.z + partial_sums.w);
    numbers[invocation] = vec2<f32>(in_normedAttentionLogSumExp[batch * 40 + query_row], delta);
  }
  workgroupBarrier();
  let log_sums = vec4<f32>(numbers[own_row].x, numbers[own_row + 1].x, numbers[own_row + 2].x, numbers[own_row + 3].x);
  let deltas = vec4<f32>(numbers[own_row].y, numbers[own_row + 1].y, numbers[own_row + 2].y, numbers[own_row + 3].y);
  for (var first_column = 0; first_column < 64; first_column += 32) {
    let count = 32;
    let key_at_0_place = first_column + own_column;
    let key_at_0 = key_base + key_at_0_place * 8;
    let key_at_1_place = first_column + own_column + 1;
    let key_at_1 = key_base + key_at_1_place * 8;
    let key_at_2_place = first_column + own_column + 2;
    let key_at_2 = key_base + key_at_2_place * 8;
    let key_at_3_place = first_column + own_column + 3;
    let key_at_3 = key_base + key_at_3_place * 8;
    let column_value_at_0_place = first_column + own_column;
    let column_value_at_0 = column_value_base + column_value_at_0_place * 4;
    let column_value_at_1_place = first_column + own_column + 1;
    let column_value_at_1 = column_value_base + column_value_at_1_place * 4;
    let column_value_at_2_place = first_column + own_column + 2;
    let column_value_at_2 = column_value_base + column_value_at_2_place * 4;
    let column_value_at_3_place = first_column + own_column + 3;
    let column_value_at_3 = column_value_base + column_value_at_3_place * 4;
    var score_0 = vec4<f32>();
    var score_1 = vec4<f32>();
    var score_2 = vec4<f32>();
    var score_3 = vec4<f32>();
    for (var k = 0; k < 8; k += 4) {
      let query_scale = vec4<f32>(in_scale_out_normedAttentionGradQueryScale[k], in_scale_out_normedAttentionGradQueryScale[k + 1], in_scale_out_normedAttentionGradQueryScale[k + 2], in_scale_out_normedAttentionGradQueryScale[k + 3]);
      let query_own_0 = (in_q[(query_at_0 + k) >> 2u] - query_mean_0.x) * query_inverse_0.x * query_scale;
      let query_own_1 = (in_q[(query_at_1 + k) >> 2u] - query_mean_0.y) * query_inverse_0.y * query_scale;
      let query_own_2 = (in_q[(query_at_2 + k) >> 2u] - query_mean_0.z) * query_inverse_0.z * query_scale;
      let query_own_3 = (in_q[(query_at_3 + k) >> 2u] - query_mean_0.w) * query_inverse_0.w * query_scale;
      let key_own_0 = in_k[(key_at_0 + k) >> 2u];
      let key_own_1 = in_k[(key_at_1 + k) >> 2u];
      let key_own_2 = in_k[(key_at_2 + k) >> 2u];
      let key_own_3 = in_k[(key_at_3 + k) >> 2u];
      score_0 = fma(vec4<f32>(query_own_0.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_0);
      score_1 = fma(vec4<f32>(query_own_1.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_1);
      score_2 = fma(vec4<f32>(query_own_2.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_2);
      score_3 = fma(vec4<f32>(query_own_3.x), vec4<f32>(key_own_0.x, key_own_1.x, key_own_2.x, key_own_3.x), score_3);
      score_0 = fma(vec4<f32>(query_own_0.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_0);
      score_1 = fma(vec4<f32>(query_own_1.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_1);
      score_2 = fma(vec4<f32>(query_own_2.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_2);
      score_3 = fma(vec4<f32>(query_own_3.y), vec4<f32>(key_own_0.y, key_own_1.y, key_own_2.y, key_own_3.y), score_3);
      score_0 = fma(vec4<f32>(query_own_0.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_0);
      score_1 = fma(vec4<f32>(query_own_1.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_1);
      score_2 = fma(vec4<f32>(query_own_2.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_2);
      score_3 = fma(vec4<f32>(query_own_3.z), vec4<f32>(key_own_0.z, key_own_1.z, key_own_2.z, key_own_3.z), score_3);
      score_0 = fma(vec4<f32>(query_own_0.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_0);
      score_1 = fma(vec4<f32>(query_own_1.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_1);
      score_2 = fma(vec4<f32>(query_own_2.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_2);
      score_3 = fma(vec4<f32>(query_own_3.w), vec4<f32>(key_own_0.w, key_own_1.w, key_own_2.w, key_own_3.w), score_3);
    }
    var product_0 = vec4<f32>();
    var product_1 = vec4<f32>();
    var product_2 = vec4<f32>();
    var product_3 = vec4<f32>();
    for (var k = 0; k < 4; k += 4) {
      let row_value_own_0 = in_broadcast[(row_value_at_0 + k) >> 2u];
      let row_value_own_1 = in_broadcast[(row_value_at_1 + k) >> 2u];
      let row_value_own_2 = in_broadcast[(row_value_at_2 + k) >> 2u];
      let row_value_own_3 = in_broadcast[(row_value_at_3 + k) >> 2u];
      let column_value_own_0 = in_v[(column_value_at_0 + k) >> 2u];
      let column_value_own_1 = in_v[(column_value_at_1 + k) >> 2u];
      let column_value_own_2 = in_v[(column_value_at_2 + k) >> 2u];
      let column_value_own_3 = in_v[(column_value_at_3 + k) >> 2u];
      product_0 = fma(vec4<f32>(row_value_own_0.x), vec4<f32>(column_value_own_0.x, column_value_own_1.x, column_value_own_2.x, column_value_own_3.x), product_0);
      product_1 = fma(vec4<f32>(row_value_own_1.x), vec4<f32>(column_value_own_0.x, column_value_own_1.x, column_value_own_2.x, column_value_own_3.x), product_1);
      product_2 = fma(vec4<f32>(row_value_own_2.x), vec4<f32>(column_value_own_0.x, column_value_own_1.x, column_value_own_2.x, column_value_own_3.x), product_2);
      product_3 = fma(vec4<f32>(row_value_own_3.x), vec4<f32>(column_value_own_0.x, column_value_own_1.x, column_value_own_2.x, column_value_own_3.x), product_3);
      product_0 = fma(vec4<f32>(row_value_own_0.y), vec4<f32>(column_value_own_0.y, column_value_own_1.y, column_value_own_2.y, column_value_own_3.y), product_0);
      product_1 = fma(vec4<f32>(row_value_own_1.y), vec4<f32>(column_value_own_0.y, column_value_own_1.y, column_value_own_2.y, column_value_own_3.y), product_1);
      product_2 = fma(vec4<f32>(row_value_own_2.y), vec4<f32>(column_value_own_0.y, column_value_own_1.y, column_value_own_2.y, column_value_own_3.y), product_2);
      product_3 = fma(vec4<f32>(row_value_own_3.y), vec4<f32>(column_value_own_0.y, column_value_own_1.y, column_value_own_2.y, column_value_own_3.y), product_3);
      product_0 = fma(vec4<f32>(row_value_own_0.z), vec4<f32>(column_value_own_0.z, column_value_own_1.z, column_value_own_2.z, column_value_own_3.z), product_0);
      product_1 = fma(vec4<f32>(row_value_own_1.z), vec4<f32>(column_value_own_0.z, column_value_own_1.z, column_value_own_2.z, column_value_own_3.z), product_1);
      product_2 = fma(vec4<f32>(row_value_own_2.z), vec4<f32>(column_value_own_0.z, column_value_own_1.z, column_value_own_2.z, column_value_own_3.z), product_2);
      product_3 = fma(vec4<f32>(row_value_own_3.z), vec4<f32>(column_value_own_0.z, column_value_own_1.z, column_value_own_2.z, column_value_own_3.z), product_3);
      product_0 = fma(vec4<f32>(row_value_own_0.w), vec4<f32>(column_value_own_0.w, column_value_own_1.w, column_value_own_2.w, column_value_own_3.w), product_0);
      product_1 = fma(vec4<f32>(row_value_own_1.w), vec4<f32>(column_value_own_0.w, column_value_own_1.w, column_value_own_2.w, column_value_own_3.w), product_1);
      product_2 = fma(vec4<f32>(row_value_own_2.w), vec4<f32>(column_value_own_0.w, column_value_own_1.w, column_value_own_2.w, column_value_own_3.w), product_2);
      product_3 = fma(vec4<f32>(row_value_own_3.w), vec4<f32>(column_value_own_0.w, column_value_own_1.w, column_value_own_2.w, column_value_own_3.w), product_3);
    }
    let probability_0 = exp_of_four(score_0 * 0.353553385 - log_sums.x);
    let score_grad_0 = 0.353553385 * probability_0 * (product_0 - deltas.x);
    let probability_1 = exp_of_four(score_1 * 0.353553385 - log_sums.y);
    let score_grad_1 = 0.353553385 * probability_1 * (product_1 - deltas.y);
    let probability_2 = exp_of_four(score_2 * 0.353553385 - log_sums.z);
    let score_grad_2 = 0.353553385 * probability_2 * (product_2 - deltas.z);
    let probability_3 = exp_of_four(score_3 * 0.353553385 - log_sums.w);
    let score_grad_3 = 0.353553385 * probability_3 * (product_3 - deltas.w);
    workgroupBarrier();
    score_grads[own_column * 8 + own_row / 4] = vec4<f32>(score_grad_0.x, score_grad_1.x, score_grad_2.x, score_grad_3.x);
    score_grads[(own_column + 1) * 8 + own_row / 4] = vec4<f32>(score_grad_0.y, score_grad_1.y, score_grad_2.y, score_grad_3.y);
    score_grads[(own_column + 2) * 8 + own_row / 4] = vec4<f32>(score_grad_0.z, score_grad_1.z, score_grad_2.z, score_grad_3.z);
    score_grads[(own_column + 3) * 8 + own_row / 4] = vec4<f32>(score_grad_0.w, score_grad_1.w, score_grad_2.w, score_grad_3.w);
    workgroupBarrier();
    {
      var tile_column = 0;
      for (; tile_column < count; tile_column++) {
        let k = first_column + tile_column;
        let summed_own_0_0 = in_k[(summed_at_0 + k * 8) >> 2u];
        let weights_0 = score_grads[tile_column * 8 + own_row / 4];
        result0_0_0 = fma(vec4<f32>(weights_0.x), summed_own_0_0, result0_0_0);
        result0_1_0 = fma(vec4<f32>(weights_0.y), summed_own_0_0, result0_1_0);
        result0_2_0 = fma(vec4<f32>(weights_0.z), summed_own_0_0, result0_2_0);
        result0_3_0 = fma(vec4<f32>(weights_0.w), summed_own_0_0, result0_3_0);
      }
    }
  }
  // Back through the norm of the workgroup's rows.
  let given_base = batch * 320;
  let given_statistics = batch * 80;
  let given_at_0_place = min(result_column, 4);
  let given_at_0 = given_base + given_at_0_place;
  let given_scale_0 = vec4<f32>(in_scale_out_normedAttentionGradQueryScale[given_at_0_place], in_scale_out_normedAttentionGradQueryScale[given_at_0_place + 1], in_scale_out_normedAttentionGradQueryScale[given_at_0_place + 2], in_scale_out_normedAttentionGradQueryScale[given_at_0_place + 3]);
  let factor_0 = select(vec4<f32>(), given_scale_0, vec4<i32>(result_column) + vec4<i32>(0, 1, 2, 3) < vec4<i32>(8));
  var along = vec4<f32>();
  var middle = vec4<f32>();
  var scale_sum_0 = vec4<f32>();
  {
    let given_row = min(first_row + own_row, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    let inside_row = first_row + own_row < 40;
    result0_0_0 = select(vec4<f32>(), result0_0_0, inside_row);
    scale_sum_0 += result0_0_0 * given_own_0_0;
    result0_0_0 *= factor_0;
    along.x += dot(result0_0_0, given_own_0_0);
    middle.x += dot(result0_0_0, vec4<f32>(1.0));
  }
  {
    let given_row = min(first_row + own_row + 1, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    let inside_row = first_row + own_row + 1 < 40;
    result0_1_0 = select(vec4<f32>(), result0_1_0, inside_row);
    scale_sum_0 += result0_1_0 * given_own_0_0;
    result0_1_0 *= factor_0;
    along.y += dot(result0_1_0, given_own_0_0);
    middle.y += dot(result0_1_0, vec4<f32>(1.0));
  }
  {
    let given_row = min(first_row + own_row + 2, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    let inside_row = first_row + own_row + 2 < 40;
    result0_2_0 = select(vec4<f32>(), result0_2_0, inside_row);
    scale_sum_0 += result0_2_0 * given_own_0_0;
    result0_2_0 *= factor_0;
    along.z += dot(result0_2_0, given_own_0_0);
    middle.z += dot(result0_2_0, vec4<f32>(1.0));
  }
  {
    let given_row = min(first_row + own_row + 3, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    let inside_row = first_row + own_row + 3 < 40;
    result0_3_0 = select(vec4<f32>(), result0_3_0, inside_row);
    scale_sum_0 += result0_3_0 * given_own_0_0;
    result0_3_0 *= factor_0;
    along.w += dot(result0_3_0, given_own_0_0);
    middle.w += dot(result0_3_0, vec4<f32>(1.0));
  }
  workgroupBarrier();
  let own_along = along;
  along = vec4<f32>();
  shared_rows[invocation] = own_along;
  workgroupBarrier();
  for (var at = 0; at < 8; at++) {
    along += shared_rows[invocation / 8 * 8 + at];
  }
  along /= 8.0;
  workgroupBarrier();
  let own_middle = middle;
  middle = vec4<f32>();
  shared_rows[invocation] = own_middle;
  workgroupBarrier();
  for (var at = 0; at < 8; at++) {
    middle += shared_rows[invocation / 8 * 8 + at];
  }
  middle /= 8.0;
  {
    let given_row = min(first_row + own_row, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    result0_0_0 = (result0_0_0 - middle.x - given_own_0_0 * along.x) * given_inverse;
  }
  {
    let given_row = min(first_row + own_row + 1, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    result0_1_0 = (result0_1_0 - middle.y - given_own_0_0 * along.y) * given_inverse;
  }
  {
    let given_row = min(first_row + own_row + 2, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    result0_2_0 = (result0_2_0 - middle.z - given_own_0_0 * along.z) * given_inverse;
  }
  {
    let given_row = min(first_row + own_row + 3, 39);
    let given_mean = kernel_workspace[given_statistics + given_row * 2];
    let given_inverse = kernel_workspace[given_statistics + given_row * 2 + 1];
    let given_own_0_0 = (in_q[(given_at_0 + given_row * 8) >> 2u] - given_mean) * given_inverse;
    result0_3_0 = (result0_3_0 - middle.w - given_own_0_0 * along.w) * given_inverse;
  }
  // For the scale, the sums over the workgroup's rows.
  {
    let sums = tile * 8 + 160;
    workgroupBarrier();
    {
      shared_rows[invocation] = scale_sum_0;
      workgroupBarrier();
      if (invocation < 8) {
        var total = vec4<f32>();
        for (var group_row = 0; group_row < 8; group_row++) {
          total += shared_rows[group_row * 8 + invocation];
        }
        for (var next = 0; next < 4; next++) {
          let column_1 = result_column + next;
          if (column_1 < 8) {
            kernel_workspace[sums + column_1] = total[next];
          }
        }
      }
    }
  }
}

// attentionGrad_normedAttentionGradQueryScale_2x40x64x8
//   normedAttentionGradQueryScale
//
// Here: the sums for norms' vectors, over all tiles of rows

@group(0) @binding(0) var<storage, read_write> in_q: array<f32, 640>;
@group(0) @binding(1) var<storage, read_write> in_k: array<f32, 1024>;
@group(0) @binding(2) var<storage, read_write> in_v: array<f32, 512>;
@group(0) @binding(3) var<storage, read_write> in_normedAttention: array<f32, 320>;
@group(0) @binding(4) var<storage, read_write> in_normedAttentionLogSumExp: array<f32, 80>;
@group(0) @binding(5) var<storage, read_write> in_broadcast: array<f32, 320>;
@group(0) @binding(6) var<storage, read_write> in_scale_out_normedAttentionGradQueryScale: array<f32, 72>;
@group(0) @binding(7) var<storage, read_write> kernel_workspace: array<f32, 192>;


@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  if (item >= 8) { return; }
  let block = item / 8;
  let all_1 = block;
  let column_1 = item % 8;
  var total0: f32 = 0.0;
  for (var tile = 0; tile < 4; tile++) {
    total0 = total0 + kernel_workspace[(((tile * 8) + column_1) + 160)];
  }
  in_scale_out_normedAttentionGradQueryScale[column_1 + 64] = total0;
}
