// <hb-copy>: a button that copies the text of its <code> or <pre>, or the ids of rows.
/** @param {string | null | undefined} text */
export async function copy(text) {
	if (!text) return false;
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		// Without the clipboard API: a selection that the browser copies.
		const area = document.createElement("textarea");
		area.value = text;
		area.className = "vh";
		document.body.append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		return done;
	}
}

/** What it copies: with `data-ids` the ids of the ticked rows, or of all. @param {HTMLElement | null} from */
export function textOf(from) {
	if (from?.dataset.ids === undefined) return from?.dataset.text ?? from?.querySelector("code, pre")?.textContent ?? "";
	const rows = [...document.querySelectorAll("#list tr[data-row]")];
	const ticked = rows.filter((row) => row.querySelector("input:checked"));
	return (ticked.length ? ticked : rows).map((row) => row.getAttribute("data-row")).join("\n");
}

class HbCopy extends HTMLElement {
	connectedCallback() {
		if (this.querySelector("button")) return;
		const button = document.createElement("button");
		button.type = "button";
		const label = (button.textContent = this.dataset.ids ?? "copy");
		if (label === "copy") button.setAttribute("aria-label", `copy ${textOf(this).slice(0, 60)}`);
		button.addEventListener("click", async () => {
			const done = await copy(textOf(this));
			button.textContent = done ? "copied" : "select and copy by hand";
			setTimeout(() => (button.textContent = label), 1500);
		});
		this.append(button);
	}
}
customElements.define("hb-copy", HbCopy);
