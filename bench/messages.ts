/** What the benchmark's processes tell each other: a JSON object a line, a reply for each request. */
import type { HostTime } from "./host_time.ts";
import type { ClassTimes, StartUp } from "./measured_run.ts";
import type { Warmth } from "./timing.ts";
import type { MachineWork, TimedWork } from "./works.ts";

/** How a system's process is started: its one argument. */
export interface StartMessage {
  readonly work: MachineWork | TimedWork;
  readonly system: string;
  readonly threads: number;
  readonly setting: string;
  /** A folder for files of this run, which is removed at its end. */
  readonly folder: string;
  /** The manifest of a Vulkan driver that a GPU's work is done with, instead of the machine's own. */
  readonly vulkanDriver?: string | undefined;
  /** Whether the system runs in a page of Chromium, which its process drives. */
  readonly inChromium?: boolean;
}

export type Request =
  /** Does the work so many times, for its results. */
  | { readonly kind: "check"; readonly steps: number }
  /** Does the work once; gives how long that took. */
  | { readonly kind: "first" }
  /** Does the work until the rate is stable; `duration` is that of the rounds to come, all together. */
  | { readonly kind: "warm"; readonly duration: number }
  /** Does the work for `leadIn` milliseconds, and then times it for `duration`. */
  | { readonly kind: "round"; readonly duration: number; readonly leadIn: number }
  /** Does the work for `duration`; gives how long the host was busy with it. */
  | { readonly kind: "host"; readonly duration: number }
  /** How long each class of kernels has taken since this was last asked. */
  | { readonly kind: "classes" };

/** The first reply comes unasked, when the system is ready. */
export type Reply =
  | {
    readonly kind: "ready";
    readonly setting: string;
    /** Such as `deno 2.9.6`. */
    readonly runtime: string;
    readonly startUp?: StartUp;
    readonly lowerBoundBytes?: number;
  }
  | { readonly kind: "check"; readonly values: readonly number[] }
  | { readonly kind: "first"; readonly milliseconds: number; readonly peakBytes: number }
  | ({ readonly kind: "warm" } & Warmth)
  | {
    readonly kind: "round";
    /** Milliseconds of each run. */
    readonly times: readonly number[];
    /** The most memory that the process has had so far. */
    readonly peakBytes: number;
  }
  | ({ readonly kind: "host" } & HostTime)
  | { readonly kind: "classes"; readonly times: ClassTimes }
  | { readonly kind: "error"; readonly message: string };

export type ReplyOf<Kind extends Reply["kind"]> = Extract<Reply, { readonly kind: Kind }>;
