// matmul_contract_add_max_1x4x10x6
//   contract
//   add
//   max

@group(0) @binding(0) var<storage, read_write> in_x: array<f32, 24>;
@group(0) @binding(1) var<storage, read_write> in_w: array<f32, 60>;
@group(0) @binding(2) var<storage, read_write> out_max: array<f32, 40>;
@group(0) @binding(3) var<storage, read_write> in_b: array<f32, 10>;

fn finish_0(batch: i32, row: i32, first_column: i32, sums: vec4<f32>) {
  if (row >= 4 || first_column >= 10) { return; }
  let i_a = row;
  for (var at = 0; at < 4; at++) {
    let result_column = first_column + at;
    if (result_column >= 10) { break; }
    let i_c = result_column;
    let acc = sums[at];
    out_max[((i_a * 10) + i_c)] = max_f32((acc + in_b[i_c]), 0.0);
  }
}

// 4 x 10 results, each a sum of 6.
fn part_0(tile: i32, invocation: i32) {
  let batch = 0;
  let first_row = 0;
  let first_column = 0;
  let own_column = (invocation % 8) * 4;
  let own_row = (invocation / 8 % 8) * 4;
  if (first_row + own_row >= 4 || first_column + own_column >= 10) { return; }
  var sum_0_0 = vec4<f32>();
  var sum_1_0 = vec4<f32>();
  var sum_2_0 = vec4<f32>();
  var sum_3_0 = vec4<f32>();
  {
    let a_at_0_place = min(first_row + own_row, 3);
    let a_at_0 = a_at_0_place * 6;
    let a_at_1_place = min(first_row + own_row + 1, 3);
    let a_at_1 = a_at_1_place * 6;
    let a_at_2_place = min(first_row + own_row + 2, 3);
    let a_at_2 = a_at_2_place * 6;
    let a_at_3_place = min(first_row + own_row + 3, 3);
    let a_at_3 = a_at_3_place * 6;
    let b_at_0_place = min(first_column + own_column, 9);
    let b_at_0 = b_at_0_place;
    let b_at_1_place = min(first_column + own_column + 1, 9);
    let b_at_1 = b_at_1_place;
    let b_at_2_place = min(first_column + own_column + 2, 9);
    let b_at_2 = b_at_2_place;
    let b_at_3_place = min(first_column + own_column + 3, 9);
    let b_at_3 = b_at_3_place;
    {
      let k = 0;
      let a_own_0_0 = in_x[a_at_0 + k];
      let a_own_1_0 = in_x[a_at_1 + k];
      let a_own_2_0 = in_x[a_at_2 + k];
      let a_own_3_0 = in_x[a_at_3 + k];
      let a_own_0_1 = in_x[a_at_0 + k + 1];
      let a_own_1_1 = in_x[a_at_1 + k + 1];
      let a_own_2_1 = in_x[a_at_2 + k + 1];
      let a_own_3_1 = in_x[a_at_3 + k + 1];
      let a_own_0_2 = in_x[a_at_0 + k + 2];
      let a_own_1_2 = in_x[a_at_1 + k + 2];
      let a_own_2_2 = in_x[a_at_2 + k + 2];
      let a_own_3_2 = in_x[a_at_3 + k + 2];
      let a_own_0_3 = in_x[a_at_0 + k + 3];
      let a_own_1_3 = in_x[a_at_1 + k + 3];
      let a_own_2_3 = in_x[a_at_2 + k + 3];
      let a_own_3_3 = in_x[a_at_3 + k + 3];
      let b_own_0_0 = in_w[b_at_0 + k * 10];
      let b_own_1_0 = in_w[b_at_1 + k * 10];
      let b_own_2_0 = in_w[b_at_2 + k * 10];
      let b_own_3_0 = in_w[b_at_3 + k * 10];
      let b_own_0_1 = in_w[b_at_0 + k * 10 + 10];
      let b_own_1_1 = in_w[b_at_1 + k * 10 + 10];
      let b_own_2_1 = in_w[b_at_2 + k * 10 + 10];
      let b_own_3_1 = in_w[b_at_3 + k * 10 + 10];
      let b_own_0_2 = in_w[b_at_0 + k * 10 + 20];
      let b_own_1_2 = in_w[b_at_1 + k * 10 + 20];
      let b_own_2_2 = in_w[b_at_2 + k * 10 + 20];
      let b_own_3_2 = in_w[b_at_3 + k * 10 + 20];
      let b_own_0_3 = in_w[b_at_0 + k * 10 + 30];
      let b_own_1_3 = in_w[b_at_1 + k * 10 + 30];
      let b_own_2_3 = in_w[b_at_2 + k * 10 + 30];
      let b_own_3_3 = in_w[b_at_3 + k * 10 + 30];
      sum_0_0 = fma(vec4<f32>(a_own_0_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0_1), vec4<f32>(b_own_0_1, b_own_1_1, b_own_2_1, b_own_3_1), sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1_1), vec4<f32>(b_own_0_1, b_own_1_1, b_own_2_1, b_own_3_1), sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2_1), vec4<f32>(b_own_0_1, b_own_1_1, b_own_2_1, b_own_3_1), sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3_1), vec4<f32>(b_own_0_1, b_own_1_1, b_own_2_1, b_own_3_1), sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0_2), vec4<f32>(b_own_0_2, b_own_1_2, b_own_2_2, b_own_3_2), sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1_2), vec4<f32>(b_own_0_2, b_own_1_2, b_own_2_2, b_own_3_2), sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2_2), vec4<f32>(b_own_0_2, b_own_1_2, b_own_2_2, b_own_3_2), sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3_2), vec4<f32>(b_own_0_2, b_own_1_2, b_own_2_2, b_own_3_2), sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0_3), vec4<f32>(b_own_0_3, b_own_1_3, b_own_2_3, b_own_3_3), sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1_3), vec4<f32>(b_own_0_3, b_own_1_3, b_own_2_3, b_own_3_3), sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2_3), vec4<f32>(b_own_0_3, b_own_1_3, b_own_2_3, b_own_3_3), sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3_3), vec4<f32>(b_own_0_3, b_own_1_3, b_own_2_3, b_own_3_3), sum_3_0);
    }
    for (var k = 4; k < 6; k++) {
      let a_own_0_0 = in_x[a_at_0 + k];
      let a_own_1_0 = in_x[a_at_1 + k];
      let a_own_2_0 = in_x[a_at_2 + k];
      let a_own_3_0 = in_x[a_at_3 + k];
      let b_own_0_0 = in_w[b_at_0 + k * 10];
      let b_own_1_0 = in_w[b_at_1 + k * 10];
      let b_own_2_0 = in_w[b_at_2 + k * 10];
      let b_own_3_0 = in_w[b_at_3 + k * 10];
      sum_0_0 = fma(vec4<f32>(a_own_0_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3_0), vec4<f32>(b_own_0_0, b_own_1_0, b_own_2_0, b_own_3_0), sum_3_0);
    }
  }
  finish_0(batch, first_row + own_row, first_column + own_column, sum_0_0);
  finish_0(batch, first_row + own_row + 1, first_column + own_column, sum_1_0);
  finish_0(batch, first_row + own_row + 2, first_column + own_column, sum_2_0);
  finish_0(batch, first_row + own_row + 3, first_column + own_column, sum_3_0);
}

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  if (tile < 1) {
    part_0(tile, invocation);
  }
}
