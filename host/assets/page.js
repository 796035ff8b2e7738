import "./hb-time.js";
import "./hb-copy.js";
import "./hb-live.js";
import "./hb-keys.js";

// <hb-progress>: asks for the page again while something is under way.
setInterval(() => {
	if (!document.hidden && document.querySelector("hb-progress")) document.dispatchEvent(new Event("hb-refresh"));
}, 1000);

// <hb-json>: says whether its text is JSON.
const check = () => {
	const field = document.querySelector("hb-json textarea");
	const says = document.querySelector("hb-json output");
	if (!says || !(field instanceof HTMLTextAreaElement)) return;
	says.textContent = "it is JSON";
	try {
		JSON.parse(field.value);
	} catch (error) {
		says.textContent = `it is no JSON: ${/** @type {Error} */ (error).message}`;
	}
};
document.addEventListener("input", check);
check();
