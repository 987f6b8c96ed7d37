import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { browserFlags } from "../../bench/chromium/flags.ts";
import { isTuned } from "../../bench/fovea/settings.ts";
import { dispatchRecords } from "../../bench/records.ts";
import { dispatchText } from "../../bench/report.ts";
import { timeHost } from "../../bench/host_time.ts";
import { targetsOf } from "../../bench/targets.ts";
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
import { FOVEA, JAX, ORT_WEB, type System, SYSTEMS } from "../../bench/systems.ts";
import { GPU_WORKS } from "../../bench/works.ts";

Deno.test("bench: onnxruntime-web's settings on WebGPU all differ, in name and in words", () => {
  const described = WEB_GPU_SETTINGS.map((name) => describeWebGpu(webGpuSetting(name)));
  assertEquals(new Set(described).size, WEB_GPU_SETTINGS.length);
  assertThrows(() => webGpuSetting("fast"), RangeError, '"fast" is no setting, wanted one of');
});

Deno.test("bench: without tuning, Fovea alone is measured in fewer settings", () => {
  const work = GPU_WORKS.find(({ suite }) => suite === "matmul");
  assert(work?.suite === "matmul");
  const gpu = { software: false };
  const options = { systems: SYSTEMS, threads: [1], everySetting: true, quick: false, gpu };
  const settingsOf = (tune: boolean) =>
    new Map(
      entriesOf(work, { ...options, tune }).map(({ system, settings }) => [system, settings]),
    );
  const [tuned, untuned] = [settingsOf(true), settingsOf(false)];
  assert(tuned.get(FOVEA)?.some(isTuned));
  assertEquals(untuned.get(FOVEA), tuned.get(FOVEA)?.filter((name) => !isTuned(name)));
  assertEquals([untuned.get(ORT_WEB), untuned.get(JAX)], [tuned.get(ORT_WEB), tuned.get(JAX)]);
});

Deno.test("bench: in software, large works on WebGPU are done in one setting, and no tiles are measured", () => {
  for (const work of GPU_WORKS) {
    if (work.suite === "dispatch") continue;
    const options = { systems: SYSTEMS, threads: [1], everySetting: false, quick: false };
    const settingsOf = (wanted: System, software: boolean) =>
      entriesOf(work, { ...options, tune: true, gpu: { software } })
        .filter(({ system }) => system === wanted)
        .map(({ settings }) => settings);
    const tried = (software: boolean) =>
      settingsOf(ORT_WEB, software).map((settings) => settings.length);
    const all = work.suite === "train" ? [] : [WEB_GPU_SETTINGS.length];
    const isLarge = !/512|1024|ti16 forward b1$/.test(work.name);
    assertEquals(tried(false), all);
    assertEquals(tried(true), isLarge ? all.map(() => 1) : all, work.name);
    const ours = settingsOf(FOVEA, true).flat();
    assert(ours.length > 0 && ours.some(isTuned) !== isLarge, work.name);
  }
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
    if (work.suite === "train" || /vit-b16|b32/.test(work.name)) continue;
    const model = work.suite === "dispatch" ? work.forward : work;
    const { graph } = model.suite === "matmul" ? matmulModel(model) : vitModel(model);
    const shapeOf = (info: typeof graph.input[number] | undefined) =>
      info?.type.tensorType.shape.dim.map(({ dimValue }) => dimValue);
    const { name, dims, data } = inputOf(model);
    assertEquals([graph.input[0]?.name, shapeOf(graph.input[0])], [name, dims]);
    assertEquals(data.length, dims.reduce((product, length) => product * length, 1));
    assertEquals([graph.output.length, shapeOf(graph.output[0])], [1, outputDimsOf(model)]);
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

/** Classes like WebGPU's, and a clock that goes on by one millisecond with each call of theirs. */
function fakeGpu() {
  let time = 0;
  class Pass {
    dispatchWorkgroups(): undefined {
      time++;
    }
  }
  class Queue {
    submit(): undefined {
      time++;
    }
  }
  const wait = (milliseconds: number) => {
    time += milliseconds;
    return Promise.resolve();
  };
  return { classes: { pass: Pass, queue: Queue }, now: () => time, wait };
}

Deno.test("bench: the host's time ends with the last submit, and what waits for results is not in it", async () => {
  const { classes, now, wait } = fakeGpu();
  const [pass, queue] = [new classes.pass(), new classes.queue()];
  const { dispatchWorkgroups } = classes.pass.prototype;
  const run = async () => {
    pass.dispatchWorkgroups();
    pass.dispatchWorkgroups();
    queue.submit();
    pass.dispatchWorkgroups();
    queue.submit();
    await wait(10);
  };
  assertEquals(await timeHost(run, 20, now, classes), { times: [5, 5], dispatches: 3 });
  assertEquals(classes.pass.prototype.dispatchWorkgroups, dispatchWorkgroups);
});

Deno.test("bench: runs whose dispatches differ in number, or that have none, are refused", async () => {
  const { classes, now, wait } = fakeGpu();
  const pass = new classes.pass();
  let runs = 0;
  const growing = async () => {
    for (let count = 0; count <= runs; count++) pass.dispatchWorkgroups();
    runs++;
    await wait(1);
  };
  const message = "dispatches, wanted some, always as many";
  await assertRejects(() => timeHost(growing, 3, now, classes), RangeError, message);
  await assertRejects(() => timeHost(() => wait(1), 0, now, classes), RangeError, message);
});

Deno.test("bench: a dispatch's cost is reported in microseconds, and judged by its median", () => {
  const work = GPU_WORKS.find(({ suite }) => suite === "dispatch");
  assert(work?.suite === "dispatch");
  const cost = {
    system: FOVEA,
    threads: 1,
    runtime: "deno 2.9.6",
    setting: "a setting",
    dispatches: 90,
    times: [0.004, 0.005, 0.03],
    peakBytes: 2e8,
  };
  const failure = { system: ORT_WEB, threads: 1, message: "not measured, as there is no Chromium" };
  const costs = { work, costs: [cost], failures: [failure] };
  const text = dispatchText(costs);
  assert(/fovea +5\.00 +4\.00 +90 +200 +3/.test(text), text);
  assert(text.includes("not measured, as there is no Chromium"));
  const [record] = dispatchRecords(costs);
  assertEquals([record?.suite, record?.median_ms, record?.gflops], ["dispatch", 0.005, 0]);
  const results = { peaks: [], comparisons: [], starts: [], dispatches: [costs] };
  assertEquals(targetsOf([work], results).map(({ measured }) => measured), [5]);
});
