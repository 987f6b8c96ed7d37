/** What the benchmark's processes tell each other: a JSON object a line, a reply for each request. */

/** How a system's process is started: its one argument. */
export interface StartMessage {
  readonly work: string;
  readonly system: string;
  readonly threads: number;
  readonly setting: string;
}

export type Request =
  /** Does the work so many times, for its results. */
  | { readonly kind: "check"; readonly steps: number }
  /** Does the work until the rate is stable. */
  | { readonly kind: "warm" }
  /** Times the work for so many milliseconds. */
  | { readonly kind: "round"; readonly duration: number };

/** The first reply comes unasked, when the system is ready. */
export type Reply =
  | { readonly kind: "ready"; readonly setting: string }
  | { readonly kind: "check"; readonly values: readonly number[] }
  | { readonly kind: "warm"; readonly stable: boolean }
  | {
    readonly kind: "round";
    /** Milliseconds of each step. */
    readonly times: readonly number[];
    /** The most memory that the process has had so far. */
    readonly peakBytes: number;
  }
  | { readonly kind: "error"; readonly message: string };

export type ReplyOf<Kind extends Reply["kind"]> = Extract<Reply, { readonly kind: Kind }>;
