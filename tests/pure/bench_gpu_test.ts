import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { browserFlags } from "../../bench/chromium/flags.ts";
import { isTuned } from "../../bench/fovea/settings.ts";
import { placeOf } from "../../bench/gpu_place.ts";
import { entriesOf } from "../../bench/measure.ts";
import { inputOf, outputDimsOf } from "../../bench/onnx/input.ts";
import { matmulModel, vitModel } from "../../bench/onnx/graphs.ts";
import {
  describeWebGpu,
  WEB_GPU_SETTINGS,
  webGpuSetting,
} from "../../bench/onnx/web_gpu_setting.ts";
import { descendants, parseStatus } from "../../bench/process_memory.ts";
import { FOVEA, JAX, ORT_WEB, SYSTEMS } from "../../bench/systems.ts";
import { GPU_WORKS } from "../../bench/works.ts";

Deno.test("bench: onnxruntime-web's settings on WebGPU all differ, in name and in words", () => {
  const described = WEB_GPU_SETTINGS.map((name) => describeWebGpu(webGpuSetting(name)));
  assertEquals(new Set(described).size, WEB_GPU_SETTINGS.length);
  assertThrows(() => webGpuSetting("fast"), RangeError, '"fast" is no setting, wanted one of');
});

Deno.test("bench: without tuning, Fovea alone is measured in fewer settings", () => {
  const [work] = GPU_WORKS;
  assert(work !== undefined);
  const options = { systems: SYSTEMS, threads: [1], everySetting: true, quick: false };
  const settingsOf = (tune: boolean) =>
    new Map(
      entriesOf(work, { ...options, tune }).map(({ system, settings }) => [system, settings]),
    );
  const [tuned, untuned] = [settingsOf(true), settingsOf(false)];
  assert(tuned.get(FOVEA)?.some(isTuned));
  assertEquals(untuned.get(FOVEA), tuned.get(FOVEA)?.filter((name) => !isTuned(name)));
  assertEquals([untuned.get(ORT_WEB), untuned.get(JAX)], [tuned.get(ORT_WEB), tuned.get(JAX)]);
});

Deno.test("bench: all systems are told the same driver, and one of them to use a browser", () => {
  const vulkanDriver = "/drivers/software.json";
  for (const system of SYSTEMS) {
    const inChromium = system === ORT_WEB;
    assertEquals(placeOf(system, { vulkanDriver, browser: true }), { vulkanDriver, inChromium });
    const alone = placeOf(system, { vulkanDriver: undefined, browser: false });
    assertEquals(alone, { vulkanDriver: undefined, inChromium: false });
  }
});

Deno.test("bench: the browser has a software adapter only where it is to have one", () => {
  const asksForSoftware = (software: boolean) =>
    browserFlags(software).some((flag) => flag.endsWith("=swiftshader"));
  assert(asksForSoftware(true) && !asksForSoftware(false));
});

Deno.test("bench: an ONNX model's input and output are as the page binds them", () => {
  for (const work of GPU_WORKS) {
    if (work.suite === "train" || work.name.includes("vit-b16")) continue;
    const { graph } = work.suite === "matmul" ? matmulModel(work) : vitModel(work);
    const shapeOf = (info: typeof graph.input[number] | undefined) =>
      info?.type.tensorType.shape.dim.map(({ dimValue }) => dimValue);
    const { name, dims, data } = inputOf(work);
    assertEquals([graph.input[0]?.name, shapeOf(graph.input[0])], [name, dims]);
    assertEquals(data.length, dims.reduce((product, length) => product * length, 1));
    assertEquals([graph.output.length, shapeOf(graph.output[0])], [1, outputDimsOf(work)]);
  }
});

Deno.test("bench: a process's status is read, and that of a kernel thread has no memory", () => {
  const text = "Name:\tdeno\nPid:\t12\nPPid:\t3\nVmPeak:\t  900 kB\nVmHWM:\t  500 kB\n";
  assertEquals(parseStatus(text), { id: 12, parent: 3, peakBytes: 512_000 });
  assertEquals(parseStatus("Pid:\t2\nPPid:\t0\n"), { id: 2, parent: 0, peakBytes: 0 });
  assertEquals(parseStatus(""), undefined);
});

Deno.test("bench: descendants are children and theirs, in whatever order they are listed", () => {
  const processes = [[5, 4], [2, 1], [4, 2], [3, 2], [7, 6], [6, 1]]
    .map(([id = 0, parent = 0]) => ({ id, parent, peakBytes: 0 }));
  const ids = (ancestor: number) => descendants(processes, ancestor).map(({ id }) => id).sort();
  assertEquals(ids(2), [3, 4, 5]);
  assertEquals(ids(1), [2, 3, 4, 5, 6, 7]);
  assertEquals(ids(9), []);
});
