// matmul_contract_add_1x64x256x64
//   contract
//   add
//   add

enable subgroups;

@group(0) @binding(0) var<storage, read_write> in_x: array<vec4<f32>, 1024>;
@group(0) @binding(1) var<storage, read_write> in_w: array<vec4<f32>, 4096>;
@group(0) @binding(2) var<storage, read_write> out_add: array<vec4<f32>, 4096>;
@group(0) @binding(3) var<storage, read_write> in_b: array<vec4<f32>, 64>;
@group(0) @binding(4) var<storage, read_write> in_r: array<vec4<f32>, 4096>;

fn finish_0(batch: i32, row: i32, first_column: i32, sums: vec4<f32>) {
  if (row >= 64 || first_column >= 256) { return; }
  let i_a = row;
  let i_c = first_column;
  let in_b_four = in_b[(i_c) >> 2u];
  let in_r_four = in_r[(((i_a * 256) + i_c)) >> 2u];
  let out_add_four_place = ((i_a * 256) + i_c);
  var out_add_four: vec4<f32>;
  for (var at = 0; at < 4; at++) {
    let result_column = first_column + at;
    let i_c_1 = result_column;
    let acc = sums[at];
    out_add_four[at] = ((acc + in_b_four[at]) + in_r_four[at]);
  }
  out_add[(out_add_four_place) >> 2u] = out_add_four;
}

// 64 x 256 results, each a sum of 64.
fn part_0(tile: i32, invocation: i32) {
  let batch = 0;
  let first_row = (tile / 4) * 16;
  let first_column = (tile % 4) * 64;
  let own_column = invocation * 4;
  let own_row = 0;
  var sum_0_0 = vec4<f32>();
  var sum_0_1 = vec4<f32>();
  var sum_1_0 = vec4<f32>();
  var sum_1_1 = vec4<f32>();
  var sum_2_0 = vec4<f32>();
  var sum_2_1 = vec4<f32>();
  var sum_3_0 = vec4<f32>();
  var sum_3_1 = vec4<f32>();
  var sum_4_0 = vec4<f32>();
  var sum_4_1 = vec4<f32>();
  var sum_5_0 = vec4<f32>();
  var sum_5_1 = vec4<f32>();
  var sum_6_0 = vec4<f32>();
  var sum_6_1 = vec4<f32>();
  var sum_7_0 = vec4<f32>();
  var sum_7_1 = vec4<f32>();
  var sum_8_0 = vec4<f32>();
  var sum_8_1 = vec4<f32>();
  var sum_9_0 = vec4<f32>();
  var sum_9_1 = vec4<f32>();
  var sum_10_0 = vec4<f32>();
  var sum_10_1 = vec4<f32>();
  var sum_11_0 = vec4<f32>();
  var sum_11_1 = vec4<f32>();
  var sum_12_0 = vec4<f32>();
  var sum_12_1 = vec4<f32>();
  var sum_13_0 = vec4<f32>();
  var sum_13_1 = vec4<f32>();
  var sum_14_0 = vec4<f32>();
  var sum_14_1 = vec4<f32>();
  var sum_15_0 = vec4<f32>();
  var sum_15_1 = vec4<f32>();
  {
    let a_at_0_place = first_row + invocation;
    let a_at_0 = a_at_0_place * 64;
    let a_at_1_place = first_row + invocation + 8;
    let a_at_1 = a_at_1_place * 64;
    let b_at_0_place = first_column + own_column;
    let b_at_0 = b_at_0_place;
    let b_at_4_place = first_column + own_column + 32;
    let b_at_4 = b_at_4_place;
    for (var k = 0; k < 64; k += 4) {
      let a_part_0 = in_x[(a_at_0 + k) >> 2u];
      let a_part_1 = in_x[(a_at_1 + k) >> 2u];
      let b_own_0_0 = in_w[(b_at_0 + k * 256) >> 2u];
      let b_own_4_0 = in_w[(b_at_4 + k * 256) >> 2u];
      let b_own_0_1 = in_w[(b_at_0 + k * 256 + 256) >> 2u];
      let b_own_4_1 = in_w[(b_at_4 + k * 256 + 256) >> 2u];
      let b_own_0_2 = in_w[(b_at_0 + k * 256 + 512) >> 2u];
      let b_own_4_2 = in_w[(b_at_4 + k * 256 + 512) >> 2u];
      let b_own_0_3 = in_w[(b_at_0 + k * 256 + 768) >> 2u];
      let b_own_4_3 = in_w[(b_at_4 + k * 256 + 768) >> 2u];
      let a_own_0 = subgroupBroadcast(a_part_0, 0u);
      sum_0_0 = fma(vec4<f32>(a_own_0.x), b_own_0_0, sum_0_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.y), b_own_0_1, sum_0_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.z), b_own_0_2, sum_0_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.w), b_own_0_3, sum_0_0);
      sum_0_1 = fma(vec4<f32>(a_own_0.x), b_own_4_0, sum_0_1);
      sum_0_1 = fma(vec4<f32>(a_own_0.y), b_own_4_1, sum_0_1);
      sum_0_1 = fma(vec4<f32>(a_own_0.z), b_own_4_2, sum_0_1);
      sum_0_1 = fma(vec4<f32>(a_own_0.w), b_own_4_3, sum_0_1);
      let a_own_1 = subgroupBroadcast(a_part_0, 1u);
      sum_1_0 = fma(vec4<f32>(a_own_1.x), b_own_0_0, sum_1_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.y), b_own_0_1, sum_1_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.z), b_own_0_2, sum_1_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.w), b_own_0_3, sum_1_0);
      sum_1_1 = fma(vec4<f32>(a_own_1.x), b_own_4_0, sum_1_1);
      sum_1_1 = fma(vec4<f32>(a_own_1.y), b_own_4_1, sum_1_1);
      sum_1_1 = fma(vec4<f32>(a_own_1.z), b_own_4_2, sum_1_1);
      sum_1_1 = fma(vec4<f32>(a_own_1.w), b_own_4_3, sum_1_1);
      let a_own_2 = subgroupBroadcast(a_part_0, 2u);
      sum_2_0 = fma(vec4<f32>(a_own_2.x), b_own_0_0, sum_2_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.y), b_own_0_1, sum_2_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.z), b_own_0_2, sum_2_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.w), b_own_0_3, sum_2_0);
      sum_2_1 = fma(vec4<f32>(a_own_2.x), b_own_4_0, sum_2_1);
      sum_2_1 = fma(vec4<f32>(a_own_2.y), b_own_4_1, sum_2_1);
      sum_2_1 = fma(vec4<f32>(a_own_2.z), b_own_4_2, sum_2_1);
      sum_2_1 = fma(vec4<f32>(a_own_2.w), b_own_4_3, sum_2_1);
      let a_own_3 = subgroupBroadcast(a_part_0, 3u);
      sum_3_0 = fma(vec4<f32>(a_own_3.x), b_own_0_0, sum_3_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.y), b_own_0_1, sum_3_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.z), b_own_0_2, sum_3_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.w), b_own_0_3, sum_3_0);
      sum_3_1 = fma(vec4<f32>(a_own_3.x), b_own_4_0, sum_3_1);
      sum_3_1 = fma(vec4<f32>(a_own_3.y), b_own_4_1, sum_3_1);
      sum_3_1 = fma(vec4<f32>(a_own_3.z), b_own_4_2, sum_3_1);
      sum_3_1 = fma(vec4<f32>(a_own_3.w), b_own_4_3, sum_3_1);
      let a_own_4 = subgroupBroadcast(a_part_0, 4u);
      sum_4_0 = fma(vec4<f32>(a_own_4.x), b_own_0_0, sum_4_0);
      sum_4_0 = fma(vec4<f32>(a_own_4.y), b_own_0_1, sum_4_0);
      sum_4_0 = fma(vec4<f32>(a_own_4.z), b_own_0_2, sum_4_0);
      sum_4_0 = fma(vec4<f32>(a_own_4.w), b_own_0_3, sum_4_0);
      sum_4_1 = fma(vec4<f32>(a_own_4.x), b_own_4_0, sum_4_1);
      sum_4_1 = fma(vec4<f32>(a_own_4.y), b_own_4_1, sum_4_1);
      sum_4_1 = fma(vec4<f32>(a_own_4.z), b_own_4_2, sum_4_1);
      sum_4_1 = fma(vec4<f32>(a_own_4.w), b_own_4_3, sum_4_1);
      let a_own_5 = subgroupBroadcast(a_part_0, 5u);
      sum_5_0 = fma(vec4<f32>(a_own_5.x), b_own_0_0, sum_5_0);
      sum_5_0 = fma(vec4<f32>(a_own_5.y), b_own_0_1, sum_5_0);
      sum_5_0 = fma(vec4<f32>(a_own_5.z), b_own_0_2, sum_5_0);
      sum_5_0 = fma(vec4<f32>(a_own_5.w), b_own_0_3, sum_5_0);
      sum_5_1 = fma(vec4<f32>(a_own_5.x), b_own_4_0, sum_5_1);
      sum_5_1 = fma(vec4<f32>(a_own_5.y), b_own_4_1, sum_5_1);
      sum_5_1 = fma(vec4<f32>(a_own_5.z), b_own_4_2, sum_5_1);
      sum_5_1 = fma(vec4<f32>(a_own_5.w), b_own_4_3, sum_5_1);
      let a_own_6 = subgroupBroadcast(a_part_0, 6u);
      sum_6_0 = fma(vec4<f32>(a_own_6.x), b_own_0_0, sum_6_0);
      sum_6_0 = fma(vec4<f32>(a_own_6.y), b_own_0_1, sum_6_0);
      sum_6_0 = fma(vec4<f32>(a_own_6.z), b_own_0_2, sum_6_0);
      sum_6_0 = fma(vec4<f32>(a_own_6.w), b_own_0_3, sum_6_0);
      sum_6_1 = fma(vec4<f32>(a_own_6.x), b_own_4_0, sum_6_1);
      sum_6_1 = fma(vec4<f32>(a_own_6.y), b_own_4_1, sum_6_1);
      sum_6_1 = fma(vec4<f32>(a_own_6.z), b_own_4_2, sum_6_1);
      sum_6_1 = fma(vec4<f32>(a_own_6.w), b_own_4_3, sum_6_1);
      let a_own_7 = subgroupBroadcast(a_part_0, 7u);
      sum_7_0 = fma(vec4<f32>(a_own_7.x), b_own_0_0, sum_7_0);
      sum_7_0 = fma(vec4<f32>(a_own_7.y), b_own_0_1, sum_7_0);
      sum_7_0 = fma(vec4<f32>(a_own_7.z), b_own_0_2, sum_7_0);
      sum_7_0 = fma(vec4<f32>(a_own_7.w), b_own_0_3, sum_7_0);
      sum_7_1 = fma(vec4<f32>(a_own_7.x), b_own_4_0, sum_7_1);
      sum_7_1 = fma(vec4<f32>(a_own_7.y), b_own_4_1, sum_7_1);
      sum_7_1 = fma(vec4<f32>(a_own_7.z), b_own_4_2, sum_7_1);
      sum_7_1 = fma(vec4<f32>(a_own_7.w), b_own_4_3, sum_7_1);
      let a_own_8 = subgroupBroadcast(a_part_1, 0u);
      sum_8_0 = fma(vec4<f32>(a_own_8.x), b_own_0_0, sum_8_0);
      sum_8_0 = fma(vec4<f32>(a_own_8.y), b_own_0_1, sum_8_0);
      sum_8_0 = fma(vec4<f32>(a_own_8.z), b_own_0_2, sum_8_0);
      sum_8_0 = fma(vec4<f32>(a_own_8.w), b_own_0_3, sum_8_0);
      sum_8_1 = fma(vec4<f32>(a_own_8.x), b_own_4_0, sum_8_1);
      sum_8_1 = fma(vec4<f32>(a_own_8.y), b_own_4_1, sum_8_1);
      sum_8_1 = fma(vec4<f32>(a_own_8.z), b_own_4_2, sum_8_1);
      sum_8_1 = fma(vec4<f32>(a_own_8.w), b_own_4_3, sum_8_1);
      let a_own_9 = subgroupBroadcast(a_part_1, 1u);
      sum_9_0 = fma(vec4<f32>(a_own_9.x), b_own_0_0, sum_9_0);
      sum_9_0 = fma(vec4<f32>(a_own_9.y), b_own_0_1, sum_9_0);
      sum_9_0 = fma(vec4<f32>(a_own_9.z), b_own_0_2, sum_9_0);
      sum_9_0 = fma(vec4<f32>(a_own_9.w), b_own_0_3, sum_9_0);
      sum_9_1 = fma(vec4<f32>(a_own_9.x), b_own_4_0, sum_9_1);
      sum_9_1 = fma(vec4<f32>(a_own_9.y), b_own_4_1, sum_9_1);
      sum_9_1 = fma(vec4<f32>(a_own_9.z), b_own_4_2, sum_9_1);
      sum_9_1 = fma(vec4<f32>(a_own_9.w), b_own_4_3, sum_9_1);
      let a_own_10 = subgroupBroadcast(a_part_1, 2u);
      sum_10_0 = fma(vec4<f32>(a_own_10.x), b_own_0_0, sum_10_0);
      sum_10_0 = fma(vec4<f32>(a_own_10.y), b_own_0_1, sum_10_0);
      sum_10_0 = fma(vec4<f32>(a_own_10.z), b_own_0_2, sum_10_0);
      sum_10_0 = fma(vec4<f32>(a_own_10.w), b_own_0_3, sum_10_0);
      sum_10_1 = fma(vec4<f32>(a_own_10.x), b_own_4_0, sum_10_1);
      sum_10_1 = fma(vec4<f32>(a_own_10.y), b_own_4_1, sum_10_1);
      sum_10_1 = fma(vec4<f32>(a_own_10.z), b_own_4_2, sum_10_1);
      sum_10_1 = fma(vec4<f32>(a_own_10.w), b_own_4_3, sum_10_1);
      let a_own_11 = subgroupBroadcast(a_part_1, 3u);
      sum_11_0 = fma(vec4<f32>(a_own_11.x), b_own_0_0, sum_11_0);
      sum_11_0 = fma(vec4<f32>(a_own_11.y), b_own_0_1, sum_11_0);
      sum_11_0 = fma(vec4<f32>(a_own_11.z), b_own_0_2, sum_11_0);
      sum_11_0 = fma(vec4<f32>(a_own_11.w), b_own_0_3, sum_11_0);
      sum_11_1 = fma(vec4<f32>(a_own_11.x), b_own_4_0, sum_11_1);
      sum_11_1 = fma(vec4<f32>(a_own_11.y), b_own_4_1, sum_11_1);
      sum_11_1 = fma(vec4<f32>(a_own_11.z), b_own_4_2, sum_11_1);
      sum_11_1 = fma(vec4<f32>(a_own_11.w), b_own_4_3, sum_11_1);
      let a_own_12 = subgroupBroadcast(a_part_1, 4u);
      sum_12_0 = fma(vec4<f32>(a_own_12.x), b_own_0_0, sum_12_0);
      sum_12_0 = fma(vec4<f32>(a_own_12.y), b_own_0_1, sum_12_0);
      sum_12_0 = fma(vec4<f32>(a_own_12.z), b_own_0_2, sum_12_0);
      sum_12_0 = fma(vec4<f32>(a_own_12.w), b_own_0_3, sum_12_0);
      sum_12_1 = fma(vec4<f32>(a_own_12.x), b_own_4_0, sum_12_1);
      sum_12_1 = fma(vec4<f32>(a_own_12.y), b_own_4_1, sum_12_1);
      sum_12_1 = fma(vec4<f32>(a_own_12.z), b_own_4_2, sum_12_1);
      sum_12_1 = fma(vec4<f32>(a_own_12.w), b_own_4_3, sum_12_1);
      let a_own_13 = subgroupBroadcast(a_part_1, 5u);
      sum_13_0 = fma(vec4<f32>(a_own_13.x), b_own_0_0, sum_13_0);
      sum_13_0 = fma(vec4<f32>(a_own_13.y), b_own_0_1, sum_13_0);
      sum_13_0 = fma(vec4<f32>(a_own_13.z), b_own_0_2, sum_13_0);
      sum_13_0 = fma(vec4<f32>(a_own_13.w), b_own_0_3, sum_13_0);
      sum_13_1 = fma(vec4<f32>(a_own_13.x), b_own_4_0, sum_13_1);
      sum_13_1 = fma(vec4<f32>(a_own_13.y), b_own_4_1, sum_13_1);
      sum_13_1 = fma(vec4<f32>(a_own_13.z), b_own_4_2, sum_13_1);
      sum_13_1 = fma(vec4<f32>(a_own_13.w), b_own_4_3, sum_13_1);
      let a_own_14 = subgroupBroadcast(a_part_1, 6u);
      sum_14_0 = fma(vec4<f32>(a_own_14.x), b_own_0_0, sum_14_0);
      sum_14_0 = fma(vec4<f32>(a_own_14.y), b_own_0_1, sum_14_0);
      sum_14_0 = fma(vec4<f32>(a_own_14.z), b_own_0_2, sum_14_0);
      sum_14_0 = fma(vec4<f32>(a_own_14.w), b_own_0_3, sum_14_0);
      sum_14_1 = fma(vec4<f32>(a_own_14.x), b_own_4_0, sum_14_1);
      sum_14_1 = fma(vec4<f32>(a_own_14.y), b_own_4_1, sum_14_1);
      sum_14_1 = fma(vec4<f32>(a_own_14.z), b_own_4_2, sum_14_1);
      sum_14_1 = fma(vec4<f32>(a_own_14.w), b_own_4_3, sum_14_1);
      let a_own_15 = subgroupBroadcast(a_part_1, 7u);
      sum_15_0 = fma(vec4<f32>(a_own_15.x), b_own_0_0, sum_15_0);
      sum_15_0 = fma(vec4<f32>(a_own_15.y), b_own_0_1, sum_15_0);
      sum_15_0 = fma(vec4<f32>(a_own_15.z), b_own_0_2, sum_15_0);
      sum_15_0 = fma(vec4<f32>(a_own_15.w), b_own_0_3, sum_15_0);
      sum_15_1 = fma(vec4<f32>(a_own_15.x), b_own_4_0, sum_15_1);
      sum_15_1 = fma(vec4<f32>(a_own_15.y), b_own_4_1, sum_15_1);
      sum_15_1 = fma(vec4<f32>(a_own_15.z), b_own_4_2, sum_15_1);
      sum_15_1 = fma(vec4<f32>(a_own_15.w), b_own_4_3, sum_15_1);
    }
  }
  finish_0(batch, first_row + own_row, first_column + own_column, sum_0_0);
  finish_0(batch, first_row + own_row, first_column + own_column + 32, sum_0_1);
  finish_0(batch, first_row + own_row + 1, first_column + own_column, sum_1_0);
  finish_0(batch, first_row + own_row + 1, first_column + own_column + 32, sum_1_1);
  finish_0(batch, first_row + own_row + 2, first_column + own_column, sum_2_0);
  finish_0(batch, first_row + own_row + 2, first_column + own_column + 32, sum_2_1);
  finish_0(batch, first_row + own_row + 3, first_column + own_column, sum_3_0);
  finish_0(batch, first_row + own_row + 3, first_column + own_column + 32, sum_3_1);
  finish_0(batch, first_row + own_row + 4, first_column + own_column, sum_4_0);
  finish_0(batch, first_row + own_row + 4, first_column + own_column + 32, sum_4_1);
  finish_0(batch, first_row + own_row + 5, first_column + own_column, sum_5_0);
  finish_0(batch, first_row + own_row + 5, first_column + own_column + 32, sum_5_1);
  finish_0(batch, first_row + own_row + 6, first_column + own_column, sum_6_0);
  finish_0(batch, first_row + own_row + 6, first_column + own_column + 32, sum_6_1);
  finish_0(batch, first_row + own_row + 7, first_column + own_column, sum_7_0);
  finish_0(batch, first_row + own_row + 7, first_column + own_column + 32, sum_7_1);
  finish_0(batch, first_row + own_row + 8, first_column + own_column, sum_8_0);
  finish_0(batch, first_row + own_row + 8, first_column + own_column + 32, sum_8_1);
  finish_0(batch, first_row + own_row + 9, first_column + own_column, sum_9_0);
  finish_0(batch, first_row + own_row + 9, first_column + own_column + 32, sum_9_1);
  finish_0(batch, first_row + own_row + 10, first_column + own_column, sum_10_0);
  finish_0(batch, first_row + own_row + 10, first_column + own_column + 32, sum_10_1);
  finish_0(batch, first_row + own_row + 11, first_column + own_column, sum_11_0);
  finish_0(batch, first_row + own_row + 11, first_column + own_column + 32, sum_11_1);
  finish_0(batch, first_row + own_row + 12, first_column + own_column, sum_12_0);
  finish_0(batch, first_row + own_row + 12, first_column + own_column + 32, sum_12_1);
  finish_0(batch, first_row + own_row + 13, first_column + own_column, sum_13_0);
  finish_0(batch, first_row + own_row + 13, first_column + own_column + 32, sum_13_1);
  finish_0(batch, first_row + own_row + 14, first_column + own_column, sum_14_0);
  finish_0(batch, first_row + own_row + 14, first_column + own_column + 32, sum_14_1);
  finish_0(batch, first_row + own_row + 15, first_column + own_column, sum_15_0);
  finish_0(batch, first_row + own_row + 15, first_column + own_column + 32, sum_15_1);
}


@compute @workgroup_size(8, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  if (tile < 16) {
    part_0(tile, invocation);
  }
}
