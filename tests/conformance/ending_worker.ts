/** A worker that ends soon after a program is registered. */
import process from "node:process";
import * as Comlink from "comlink";

Comlink.expose({
  init() {},
  register() {
    setTimeout(() => process.exit(3), 20);
  },
  park() {},
});
