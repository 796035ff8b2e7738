// <hb-live topics="…">: a stream of hints; after one the page asks for what changes of itself.
import { showTimes } from "./hb-time.js";

const PAUSE = 1000;
const POLL = 5000;
/** @type {{createHTML(text: string): string} | undefined} */
const policy = /** @type {any} */ (window).trustedTypes?.createPolicy("hookbox", { createHTML: (/** @type {string} */ text) => text });

/** @param {string} text */
const parse = (text) => new DOMParser().parseFromString(/** @type {any} */ (policy?.createHTML(text) ?? text), "text/html");

/** @param {Element} where @param {Element | null} row */
const same = (where, row) => where.querySelector(`tr[data-row="${CSS.escape(row?.getAttribute("data-row") ?? "")}"]`);

class HbLive extends HTMLElement {
	connectedCallback() {
		this.topics = this.getAttribute("topics") ?? "";
		this.setAttribute("role", "status");
		if (!this.topics) return;
		this.on = true;
		this.button = document.createElement("button");
		this.button.type = "button";
		this.button.addEventListener("click", () => this.toggle());
		this.say("live …");
		this.append(this.button);
		document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
		document.addEventListener("hb-refresh", () => this.on && this.refresh());
		this.open();
	}
	/** @param {string} text */
	say(text) {
		if (this.button && this.button.textContent !== text) this.button.textContent = text;
		this.dataset.state = text;
	}
	toggle() {
		this.on = !this.on;
		if (this.on) return this.open();
		this.close();
		this.say("live ○ off");
	}
	open() {
		if (!this.on || this.stream || document.hidden) return;
		const stream = (this.stream = new EventSource(`/api/v1/stream?topics=${encodeURIComponent(this.topics ?? "")}`));
		stream.onopen = () => {
			this.say("live ◉");
			// What changed while nobody listened.
			this.refresh();
		};
		stream.onmessage = () => this.soon();
		stream.onerror = () => {
			const time = new Date().toISOString().slice(11, 19);
			if (!this.dataset.state?.startsWith("not live")) this.say(`not live since ${time}Z · trying again`);
			if (stream.readyState !== EventSource.CLOSED) return;
			// Refused, as when there are enough streams: ask by ourselves, and try again.
			this.stream = undefined;
			setTimeout(() => {
				this.soon();
				this.open();
			}, POLL);
		};
	}
	close() {
		this.stream?.close();
		this.stream = undefined;
	}
	soon() {
		if (this.timer) return;
		const wait = Math.max(0, (this.last ?? 0) + PAUSE - Date.now());
		this.timer = setTimeout(() => {
			this.timer = undefined;
			this.refresh();
		}, wait);
	}
	async refresh() {
		if (this.busy) {
			// It may have been read before what the hint is of.
			this.again = true;
			return;
		}
		this.busy = true;
		this.again = false;
		this.last = Date.now();
		try {
			const url = new URL(location.href);
			url.searchParams.set("fragment", "1");
			const answer = await fetch(url, { headers: { accept: "text/html" } });
			if (answer.ok) this.apply(parse(await answer.text()));
		} catch {
			// The stream says that the host is gone.
		} finally {
			this.busy = false;
			if (this.again) this.soon();
		}
	}
	/** @param {Document} next */
	apply(next) {
		for (const fresh of next.querySelectorAll("[data-live][id]")) {
			const old = document.getElementById(fresh.id);
			if (!old) continue;
			if (fresh instanceof HTMLElement && fresh.dataset.live === "tail") this.tail(old, fresh);
			else if (old.innerHTML !== fresh.innerHTML) this.replace(old, fresh);
		}
		showTimes();
	}
	/** @param {Element} old @param {Element} fresh */
	replace(old, fresh) {
		const active = document.activeElement;
		// Nothing moves that is pointed at or focused: the next hint tries again.
		if (old.querySelector("tbody tr:hover, .trouble li:hover")) return;
		if (active && old.contains(active)) return;
		for (const details of old.querySelectorAll("details[open][id]")) {
			fresh.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
		}
		same(fresh, old.querySelector("tr[aria-selected]"))?.setAttribute("aria-selected", "true");
		old.replaceChildren(...document.adoptNode(fresh).childNodes);
	}
	/** Rows come in at the top, and only where nobody looks closely. @param {Element} old @param {Element} fresh */
	tail(old, fresh) {
		const rows = [...fresh.querySelectorAll("tr[data-row]")];
		const added = rows.filter((row) => !same(old, row));
		const calm = scrollY < 40 && !old.matches(":hover") && !old.contains(document.activeElement)
			&& !old.querySelector("input:checked, [aria-selected=true]");
		const isFull = rows.length > 0 && added.length === rows.length;
		const came = Number(fresh.getAttribute("data-total")) - Number(old.getAttribute("data-total"));
		const more = isFull && came > added.length ? came : 0;
		const note = document.getElementById("new-rows");
		const shown = (/** @type {number} */ n) => n.toLocaleString("en");
		if (!calm) {
			const count = more ? shown(more) : `${added.length}${isFull ? " or more" : ""}`;
			if (note && added.length) note.textContent = `${count} new (shown when nothing is pointed at, selected or scrolled)`;
			return;
		}
		if (note) note.textContent = isFull ? `more came than are shown${more ? `: + ${shown(more - added.length)}` : ""}` : "";
		old.setAttribute("data-total", fresh.getAttribute("data-total") ?? "");
		for (const row of rows) if (added.includes(row)) row.classList.add("fresh");
		old.replaceChildren(...document.adoptNode(fresh).childNodes);
	}
}
customElements.define("hb-live", HbLive);
