/** A worker that answers every message but never takes up a run. */
import * as Comlink from "comlink";

Comlink.expose({ init() {}, register() {}, unregister() {}, failureOf() {}, park() {} });
