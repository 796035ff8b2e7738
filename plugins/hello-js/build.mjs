// Makes a component of handler.js: node build.mjs NAME.wasm
//
// Clock, random numbers and console stay real. Without them the engine would answer with what it saw while it was built:
// the same time and the same "random" numbers for every event.

import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize({
  sourcePath: "handler.js",
  witPath: "wit",
  worldName: "plugin",
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(process.argv[2], component);
