// <hb-time>: keeps a relative time true; a click shows all times as UTC, local or relative.
const MODES = ["relative", "utc", "local"];
const cookie = () => document.cookie.match(/(?:^|; )hb-time=(\w+)/)?.[1] ?? "relative";

/** @param {number} at @param {number} now */
export function relative(at, now) {
  const away = Math.abs(at - now);
  if (away < 1000) return "now";
  const [size, unit] = away < 6e4 ? [1e3, "s"] : away < 36e5 ? [6e4, "min"] : away < 1728e5 ? [36e5, "h"] : [864e5, "d"];
  const text = `${Math.floor(away / /** @type {number} */ (size))} ${unit}`;
  return at > now ? `in ${text}` : `${text} ago`;
}

class HbTime extends HTMLElement {
  connectedCallback() {
    this.show();
  }
  show() {
    const time = this.querySelector("time");
    const at = Date.parse(time?.dateTime ?? "");
    if (!time || Number.isNaN(at)) return;
    const mode = cookie();
    const text = mode === "utc" ? time.dateTime.replace("T", " ").replace(/\.\d+Z/, "Z")
      : mode === "local" ? new Date(at).toLocaleString() : relative(at, Date.now());
    if (time.textContent !== text) time.textContent = text;
  }
}
customElements.define("hb-time", HbTime);

export function showTimes() {
  for (const time of document.querySelectorAll("hb-time")) /** @type {HbTime} */ (time).show();
}
export function nextMode() {
  const mode = MODES[(MODES.indexOf(cookie()) + 1) % MODES.length];
  document.cookie = `hb-time=${mode}; path=/; max-age=31536000; samesite=strict`;
  showTimes();
  return mode;
}
setInterval(() => {
  if (!document.hidden) showTimes();
}, 1000);
