// What pages gain with script: live parts, keys, relative times, copying, progress and checks.
import "./hb-time.js";
import "./hb-copy.js";
import "./hb-live.js";
import "./hb-keys.js";
import "./hb-progress.js";
import "./hb-json.js";
