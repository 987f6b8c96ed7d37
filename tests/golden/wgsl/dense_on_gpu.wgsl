// matmul_contract_add_1x2048x1024x64
//   contract
//   add
//   add

@group(0) @binding(0) var<storage, read_write> in_x: array<vec4<f32>, 32768>;
@group(0) @binding(1) var<storage, read_write> in_w: array<vec4<f32>, 16384>;
@group(0) @binding(2) var<storage, read_write> out_add: array<vec4<f32>, 524288>;
@group(0) @binding(3) var<storage, read_write> in_b: array<vec4<f32>, 256>;
@group(0) @binding(4) var<storage, read_write> in_r: array<vec4<f32>, 524288>;
var<workgroup> a_stage: array<vec4<f32>, 264>;
var<workgroup> b_stage: array<vec4<f32>, 256>;

fn finish_0(batch: i32, row: i32, first_column: i32, sums: vec4<f32>) {
  if (row >= 2048 || first_column >= 1024) { return; }
  let i_a = row;
  let i_c = first_column;
  let in_b_four = in_b[(i_c) >> 2u];
  let in_r_four = in_r[(((i_a * 1024) + i_c)) >> 2u];
  let out_add_four_place = ((i_a * 1024) + i_c);
  var out_add_four: vec4<f32>;
  for (var at = 0; at < 4; at++) {
    let result_column = first_column + at;
    let i_c_1 = result_column;
    let acc = sums[at];
    out_add_four[at] = ((acc + in_b_four[at]) + in_r_four[at]);
  }
  out_add[(out_add_four_place) >> 2u] = out_add_four;
}

// 2048 x 1024 results, each a sum of 64.
fn part_0(tile: i32, invocation: i32) {
  let batch = 0;
  let first_row = (tile / 8) * 128;
  let first_column = (tile % 8) * 128;
  let own_column = (invocation % 16) * 4;
  let own_row = (invocation / 16 % 16) * 8;
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
  {
    let a_unit = invocation % 2;
    let a_line = invocation / 2;
    let a_from_0_0_place = first_row + a_line * 4;
    let a_from_0_0 = a_from_0_0_place * 64;
    let a_from_0_1_place = first_row + a_line * 4 + 1;
    let a_from_0_1 = a_from_0_1_place * 64;
    let a_from_0_2_place = first_row + a_line * 4 + 2;
    let a_from_0_2 = a_from_0_2_place * 64;
    let a_from_0_3_place = first_row + a_line * 4 + 3;
    let a_from_0_3 = a_from_0_3_place * 64;
    let b_unit = invocation % 32;
    let b_line = invocation / 32;
    let b_from_0_place = first_column + b_unit * 4;
    let b_from_0 = b_from_0_place;
    for (var k_start = 0; k_start < 64; k_start += 8) {
      if (invocation < 64) {
        let a_stage_k_0 = a_unit * 4;
        {
          let a_k = k_start + a_stage_k_0;
          let a_value_0 = in_x[(a_from_0_0 + a_k) >> 2u];
          let a_value_1 = in_x[(a_from_0_1 + a_k) >> 2u];
          let a_value_2 = in_x[(a_from_0_2 + a_k) >> 2u];
          let a_value_3 = in_x[(a_from_0_3 + a_k) >> 2u];
          a_stage[a_stage_k_0 * 33 + a_line] = vec4<f32>(a_value_0.x, a_value_1.x, a_value_2.x, a_value_3.x);
          a_stage[(a_stage_k_0 + 1) * 33 + a_line] = vec4<f32>(a_value_0.y, a_value_1.y, a_value_2.y, a_value_3.y);
          a_stage[(a_stage_k_0 + 2) * 33 + a_line] = vec4<f32>(a_value_0.z, a_value_1.z, a_value_2.z, a_value_3.z);
          a_stage[(a_stage_k_0 + 3) * 33 + a_line] = vec4<f32>(a_value_0.w, a_value_1.w, a_value_2.w, a_value_3.w);
        }
      }
      let b_stage_k_0 = b_line;
      {
        let b_k = k_start + b_stage_k_0;
        let b_value_0 = in_w[(b_from_0 + b_k * 1024) >> 2u];
        b_stage[b_stage_k_0 * 32 + b_unit] = b_value_0;
      }
      workgroupBarrier();
      for (var step_1 = 0; step_1 < 8; step_1 += 4) {
        let a_own_0_0 = a_stage[step_1 * 33 + own_row / 4];
        let a_own_4_0 = a_stage[step_1 * 33 + own_row / 4 + 1];
        let a_own_0_1 = a_stage[(step_1 + 1) * 33 + own_row / 4];
        let a_own_4_1 = a_stage[(step_1 + 1) * 33 + own_row / 4 + 1];
        let a_own_0_2 = a_stage[(step_1 + 2) * 33 + own_row / 4];
        let a_own_4_2 = a_stage[(step_1 + 2) * 33 + own_row / 4 + 1];
        let a_own_0_3 = a_stage[(step_1 + 3) * 33 + own_row / 4];
        let a_own_4_3 = a_stage[(step_1 + 3) * 33 + own_row / 4 + 1];
        let b_own_0_0 = b_stage[step_1 * 32 + own_column / 4];
        let b_own_4_0 = b_stage[step_1 * 32 + own_column / 4 + 16];
        let b_own_0_1 = b_stage[(step_1 + 1) * 32 + own_column / 4];
        let b_own_4_1 = b_stage[(step_1 + 1) * 32 + own_column / 4 + 16];
        let b_own_0_2 = b_stage[(step_1 + 2) * 32 + own_column / 4];
        let b_own_4_2 = b_stage[(step_1 + 2) * 32 + own_column / 4 + 16];
        let b_own_0_3 = b_stage[(step_1 + 3) * 32 + own_column / 4];
        let b_own_4_3 = b_stage[(step_1 + 3) * 32 + own_column / 4 + 16];
        sum_0_0 = fma(vec4<f32>(a_own_0_0.x), b_own_0_0, sum_0_0);
        sum_0_1 = fma(vec4<f32>(a_own_0_0.x), b_own_4_0, sum_0_1);
        sum_1_0 = fma(vec4<f32>(a_own_0_0.y), b_own_0_0, sum_1_0);
        sum_1_1 = fma(vec4<f32>(a_own_0_0.y), b_own_4_0, sum_1_1);
        sum_2_0 = fma(vec4<f32>(a_own_0_0.z), b_own_0_0, sum_2_0);
        sum_2_1 = fma(vec4<f32>(a_own_0_0.z), b_own_4_0, sum_2_1);
        sum_3_0 = fma(vec4<f32>(a_own_0_0.w), b_own_0_0, sum_3_0);
        sum_3_1 = fma(vec4<f32>(a_own_0_0.w), b_own_4_0, sum_3_1);
        sum_4_0 = fma(vec4<f32>(a_own_4_0.x), b_own_0_0, sum_4_0);
        sum_4_1 = fma(vec4<f32>(a_own_4_0.x), b_own_4_0, sum_4_1);
        sum_5_0 = fma(vec4<f32>(a_own_4_0.y), b_own_0_0, sum_5_0);
        sum_5_1 = fma(vec4<f32>(a_own_4_0.y), b_own_4_0, sum_5_1);
        sum_6_0 = fma(vec4<f32>(a_own_4_0.z), b_own_0_0, sum_6_0);
        sum_6_1 = fma(vec4<f32>(a_own_4_0.z), b_own_4_0, sum_6_1);
        sum_7_0 = fma(vec4<f32>(a_own_4_0.w), b_own_0_0, sum_7_0);
        sum_7_1 = fma(vec4<f32>(a_own_4_0.w), b_own_4_0, sum_7_1);
        sum_0_0 = fma(vec4<f32>(a_own_0_1.x), b_own_0_1, sum_0_0);
        sum_0_1 = fma(vec4<f32>(a_own_0_1.x), b_own_4_1, sum_0_1);
        sum_1_0 = fma(vec4<f32>(a_own_0_1.y), b_own_0_1, sum_1_0);
        sum_1_1 = fma(vec4<f32>(a_own_0_1.y), b_own_4_1, sum_1_1);
        sum_2_0 = fma(vec4<f32>(a_own_0_1.z), b_own_0_1, sum_2_0);
        sum_2_1 = fma(vec4<f32>(a_own_0_1.z), b_own_4_1, sum_2_1);
        sum_3_0 = fma(vec4<f32>(a_own_0_1.w), b_own_0_1, sum_3_0);
        sum_3_1 = fma(vec4<f32>(a_own_0_1.w), b_own_4_1, sum_3_1);
        sum_4_0 = fma(vec4<f32>(a_own_4_1.x), b_own_0_1, sum_4_0);
        sum_4_1 = fma(vec4<f32>(a_own_4_1.x), b_own_4_1, sum_4_1);
        sum_5_0 = fma(vec4<f32>(a_own_4_1.y), b_own_0_1, sum_5_0);
        sum_5_1 = fma(vec4<f32>(a_own_4_1.y), b_own_4_1, sum_5_1);
        sum_6_0 = fma(vec4<f32>(a_own_4_1.z), b_own_0_1, sum_6_0);
        sum_6_1 = fma(vec4<f32>(a_own_4_1.z), b_own_4_1, sum_6_1);
        sum_7_0 = fma(vec4<f32>(a_own_4_1.w), b_own_0_1, sum_7_0);
        sum_7_1 = fma(vec4<f32>(a_own_4_1.w), b_own_4_1, sum_7_1);
        sum_0_0 = fma(vec4<f32>(a_own_0_2.x), b_own_0_2, sum_0_0);
        sum_0_1 = fma(vec4<f32>(a_own_0_2.x), b_own_4_2, sum_0_1);
        sum_1_0 = fma(vec4<f32>(a_own_0_2.y), b_own_0_2, sum_1_0);
        sum_1_1 = fma(vec4<f32>(a_own_0_2.y), b_own_4_2, sum_1_1);
        sum_2_0 = fma(vec4<f32>(a_own_0_2.z), b_own_0_2, sum_2_0);
        sum_2_1 = fma(vec4<f32>(a_own_0_2.z), b_own_4_2, sum_2_1);
        sum_3_0 = fma(vec4<f32>(a_own_0_2.w), b_own_0_2, sum_3_0);
        sum_3_1 = fma(vec4<f32>(a_own_0_2.w), b_own_4_2, sum_3_1);
        sum_4_0 = fma(vec4<f32>(a_own_4_2.x), b_own_0_2, sum_4_0);
        sum_4_1 = fma(vec4<f32>(a_own_4_2.x), b_own_4_2, sum_4_1);
        sum_5_0 = fma(vec4<f32>(a_own_4_2.y), b_own_0_2, sum_5_0);
        sum_5_1 = fma(vec4<f32>(a_own_4_2.y), b_own_4_2, sum_5_1);
        sum_6_0 = fma(vec4<f32>(a_own_4_2.z), b_own_0_2, sum_6_0);
        sum_6_1 = fma(vec4<f32>(a_own_4_2.z), b_own_4_2, sum_6_1);
        sum_7_0 = fma(vec4<f32>(a_own_4_2.w), b_own_0_2, sum_7_0);
        sum_7_1 = fma(vec4<f32>(a_own_4_2.w), b_own_4_2, sum_7_1);
        sum_0_0 = fma(vec4<f32>(a_own_0_3.x), b_own_0_3, sum_0_0);
        sum_0_1 = fma(vec4<f32>(a_own_0_3.x), b_own_4_3, sum_0_1);
        sum_1_0 = fma(vec4<f32>(a_own_0_3.y), b_own_0_3, sum_1_0);
        sum_1_1 = fma(vec4<f32>(a_own_0_3.y), b_own_4_3, sum_1_1);
        sum_2_0 = fma(vec4<f32>(a_own_0_3.z), b_own_0_3, sum_2_0);
        sum_2_1 = fma(vec4<f32>(a_own_0_3.z), b_own_4_3, sum_2_1);
        sum_3_0 = fma(vec4<f32>(a_own_0_3.w), b_own_0_3, sum_3_0);
        sum_3_1 = fma(vec4<f32>(a_own_0_3.w), b_own_4_3, sum_3_1);
        sum_4_0 = fma(vec4<f32>(a_own_4_3.x), b_own_0_3, sum_4_0);
        sum_4_1 = fma(vec4<f32>(a_own_4_3.x), b_own_4_3, sum_4_1);
        sum_5_0 = fma(vec4<f32>(a_own_4_3.y), b_own_0_3, sum_5_0);
        sum_5_1 = fma(vec4<f32>(a_own_4_3.y), b_own_4_3, sum_5_1);
        sum_6_0 = fma(vec4<f32>(a_own_4_3.z), b_own_0_3, sum_6_0);
        sum_6_1 = fma(vec4<f32>(a_own_4_3.z), b_own_4_3, sum_6_1);
        sum_7_0 = fma(vec4<f32>(a_own_4_3.w), b_own_0_3, sum_7_0);
        sum_7_1 = fma(vec4<f32>(a_own_4_3.w), b_own_4_3, sum_7_1);
      }
      workgroupBarrier();
    }
  }
  finish_0(batch, first_row + own_row, first_column + own_column, sum_0_0);
  finish_0(batch, first_row + own_row, first_column + own_column + 64, sum_0_1);
  finish_0(batch, first_row + own_row + 1, first_column + own_column, sum_1_0);
  finish_0(batch, first_row + own_row + 1, first_column + own_column + 64, sum_1_1);
  finish_0(batch, first_row + own_row + 2, first_column + own_column, sum_2_0);
  finish_0(batch, first_row + own_row + 2, first_column + own_column + 64, sum_2_1);
  finish_0(batch, first_row + own_row + 3, first_column + own_column, sum_3_0);
  finish_0(batch, first_row + own_row + 3, first_column + own_column + 64, sum_3_1);
  finish_0(batch, first_row + own_row + 4, first_column + own_column, sum_4_0);
  finish_0(batch, first_row + own_row + 4, first_column + own_column + 64, sum_4_1);
  finish_0(batch, first_row + own_row + 5, first_column + own_column, sum_5_0);
  finish_0(batch, first_row + own_row + 5, first_column + own_column + 64, sum_5_1);
  finish_0(batch, first_row + own_row + 6, first_column + own_column, sum_6_0);
  finish_0(batch, first_row + own_row + 6, first_column + own_column + 64, sum_6_1);
  finish_0(batch, first_row + own_row + 7, first_column + own_column, sum_7_0);
  finish_0(batch, first_row + own_row + 7, first_column + own_column + 64, sum_7_1);
}


@compute @workgroup_size(256, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  if (tile < 128) {
    part_0(tile, invocation);
  }
}
