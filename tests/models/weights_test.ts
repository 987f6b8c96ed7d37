import { type HostTensor, hostTensor } from "../../models/host_tensor.ts";
import { normal } from "../../models/initializers.ts";
import { declare, initialize } from "../../models/parameters.ts";
import { namedTensors, valuesFrom, WeightsError } from "../../models/weights.ts";
import { loadParameters, saveParameters } from "../../models/weights_file.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";

const declarations = {
  encoder: [{ kernel: declare([2, 3], normal(1)) }, { kernel: declare([3, 2], normal(1)) }],
  bias: declare([], normal(1)),
};

Deno.test("parameters are written and read back in their structure", async () => {
  const path = await Deno.makeTempFile();
  try {
    const values = initialize(declarations, 9);
    const [first, second] = values.encoder.map(({ kernel }) => kernel);
    const tensors = {
      encoder: [
        { kernel: { shape: [2, 3], data: first } },
        { kernel: { shape: [3, 2], data: second } },
      ],
      bias: { shape: [], data: values.bias },
    };
    await saveParameters(path, tensors);
    assertEquals(await loadParameters(path, declarations), values);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("tensors that are not the model's are refused by name", () => {
  const good: [string, HostTensor][] = [
    ["encoder/0/kernel", hostTensor("f32", [2, 3], new Float32Array(6))],
    ["encoder/1/kernel", hostTensor("f32", [3, 2], new Float32Array(6))],
    ["bias", hostTensor("f32", [], new Float32Array(1))],
  ];
  valuesFrom(declarations, new Map(good), "here");
  const cases: [[string, HostTensor][], string][] = [
    [good.slice(1), 'here: "encoder/0/kernel" is missing, wanted f32[2, 3]'],
    [
      [...good, ["encoder/1/kernel", hostTensor("f32", [2, 3], new Float32Array(6))]],
      'here: "encoder/1/kernel" is f32[2, 3], wanted f32[3, 2]',
    ],
    [
      [...good, ["bias", hostTensor("i32", [], new Int32Array(1))]],
      'here: "bias" is i32[], wanted f32[]',
    ],
    [
      [...good, ["scale", hostTensor("f32", [], new Float32Array(1))]],
      'here: the model has no "scale"',
    ],
  ];
  for (const [tensors, message] of cases) {
    assertThrows(
      () => valuesFrom(declarations, new Map(tensors), "here"),
      WeightsError,
      message,
    );
  }
});

Deno.test("only f32 tensors have names", () => {
  const wrong = { kernel: { shape: [1], data: Int32Array.of(1) } };
  assertThrows(() => namedTensors(wrong), TypeError, '"kernel/shape/0"');
});
