// <hb-time>: keeps a relative time true; a click shows all times as UTC, local or relative.
const MODES = ["relative", "utc", "local"];
const cookie = () => document.cookie.match(/(?:^|; )hb-time=(\w+)/)?.[1] ?? "relative";
// Clocks in texts: the host writes them in UTC.
const CLOCKS = "[data-utc],[data-utc]>time,.chart title,figure td:first-child";
const written = new WeakMap();

/** @param {number} at @param {number} now */
function relative(at, now) {
	const away = Math.abs(at - now);
	if (away < 1000) return "now";
	const [size, unit] = away < 6e4 ? [1e3, "s"] : away < 36e5 ? [6e4, "min"] : away < 1728e5 ? [36e5, "h"] : [864e5, "d"];
	const text = `${Math.floor(away / /** @type {number} */ (size))} ${unit}`;
	return at > now ? `in ${text}` : `${text} ago`;
}
/** @param {string} text */
const local = (text) => text.replace(/(?<![\w:-])(\d\d [A-Z]\w\w )?(\d\d:\d\d(:\d\d)?)/g, (_, day = "", clock) => {
	const now = new Date().toUTCString();
	const at = new Date(`${day || now.slice(5, 12)}${now.slice(12, 16)} ${clock} UTC`);
	const here = new Date(+at - at.getTimezoneOffset() * 6e4).toUTCString();
	return (day && here.slice(5, 12)) + here.slice(17, 17 + clock.length);
}).replace("UTC", "local");

export function showTimes() {
	const mode = cookie();
	for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("hb-time>time"))) {
		const at = new Date(time.dateTime);
		const text = mode === "utc" ? time.dateTime.replace("T", " ").replace(/\.\d+/, "")
			: mode === "local" ? at.toLocaleString() : relative(+at, Date.now());
		if (time.textContent !== text) time.textContent = text;
	}
	for (const it of document.querySelectorAll(CLOCKS)) for (const node of it.childNodes) if (node instanceof Text) {
		if (!written.has(node)) written.set(node, node.data);
		const utc = written.get(node), text = mode === "local" ? local(utc) : utc;
		if (node.data !== text) node.data = text;
	}
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
showTimes();
