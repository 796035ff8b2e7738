// Makes a component of handler.js: node build.mjs COMPONENTIZE_JS WIT_FOLDER NAME.wasm

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const [componentizeJs, witPath, made] = process.argv.slice(2);
const { componentize } = await import(componentizeJs);
const sourcePath = fileURLToPath(new URL("handler.js", import.meta.url));
const { component } = await componentize({ sourcePath, witPath, worldName: "plugin", disableFeatures: ["fetch-event"] });
await writeFile(made, component);
