// What pages gain with script: live parts, keys, relative times, copying and progress.
import "./hb-time.js";
import "./hb-copy.js";
import "./hb-live.js";
import "./hb-keys.js";
import "./hb-progress.js";
