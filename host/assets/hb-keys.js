// <hb-keys>: shortcuts, and a switch that turns them off.
import { nextMode } from "./hb-time.js";
import { copy, textOf } from "./hb-copy.js";

const PAGES = { o: "/", e: "/events", f: "/failures", m: "/map", p: "/plugins", s: "/sources", c: "/schedules", k: "/kv", t: "/settings" };
const HELP = "?=this list;/=find;g o=overview;g e=events;g f=failures;g m=map;g p=plugins;g s=sources;g c=schedules;g k=keys;g t=settings;j k=next, previous row;Enter=open;x=select;r=retry;d=discard;R=replay;e=edit and replay;l=live on, off;y=copy the id;c=copy as command;[ ]=newer, older;u=up;1 – 5=tabs";
const off = () => document.cookie.includes("hb-keys=off");
const label = () => `shortcuts: ${off() ? "off" : "on"}`;
/** @type {(selector: string) => HTMLElement | null} */
const first = (selector) => document.querySelector(selector);

class HbKeys extends HTMLElement {
	connectedCallback() {
		const add = (/** @type {string} */ text, /** @type {() => void} */ act) => {
			const button = document.createElement("button");
			button.type = "button";
			button.textContent = text;
			button.addEventListener("click", act);
			this.append(button, " ");
			return button;
		};
		const keys = add(label(), () => {
			document.cookie = `hb-keys=${off() ? "on" : "off"}; path=/; max-age=31536000; samesite=strict`;
			keys.textContent = label();
		});
		const times = add("times: switch", () => (times.textContent = `times: ${nextMode()}`));
		add("shortcuts: list", () => this.help());
		document.addEventListener("keydown", (event) => this.key(event));
	}
	help() {
		const old = this.querySelector(".keys");
		if (old) return old.remove();
		const box = document.createElement("section");
		box.className = "keys";
		box.setAttribute("aria-label", "Shortcuts");
		const list = document.createElement("dl");
		for (const text of HELP.split(/[;=]/)) {
			const item = document.createElement(list.childElementCount % 2 ? "dd" : "dt");
			item.textContent = text;
			list.append(item);
		}
		box.append(list);
		box.tabIndex = -1;
		this.append(box);
		box.focus();
	}
	/** @param {KeyboardEvent} event */
	key(event) {
		const target = /** @type {HTMLElement} */ (event.target);
		if (off() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
		if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
		const key = event.key;
		if (this.leader === "g") {
			this.leader = "";
			const path = PAGES[/** @type {keyof typeof PAGES} */ (key)];
			if (path) this.go(path, event);
			return;
		}
		if (key === "g") this.leader = "g";
		else if (key === "?") this.help();
		else if (key === "/") event.preventDefault(), first("#find")?.focus();
		else if (key === "j" || key === "k") this.row(key === "j" ? 1 : -1, event);
		else if (key === "Enter") /^(A|BUTTON|SUMMARY)$/.test(target.tagName) || this.follow(this.selected()?.querySelector("a"), event);
		else if (key === "x") this.selected()?.querySelector("input")?.click();
		else if (key === "l") first("hb-live button")?.click();
		else if (key === "y") copy(this.selected()?.dataset.row ?? first("[data-id]")?.dataset.id);
		else if (key === "c") copy(textOf(first("footer hb-copy")));
		else this.act(key, event);
	}
	selected() {
		return first("tr[aria-selected=true]");
	}
	/** @param {string} path @param {Event} event */
	go(path, event) {
		event.preventDefault();
		location.assign(path);
	}
	/** What a key means for the selected row, else for the page. @param {string} key @param {Event} event */
	act(key, event) {
		const row = this.selected();
		const path = /^[a-z]$/.test(key) && row?.getAttribute(`data-${key}`);
		if (path) return this.go(path, event);
		const all = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
		const own = row && all.find((it) => row.contains(it) || it.closest("article")?.id === row.getAttribute("data-row"));
		const found = own ?? all.find((it) => !it.closest("tbody, article"));
		const tick = row?.querySelector("input");
		// Without a ticked row the selected one is meant.
		if (!own && tick && found?.closest("form") && !first("tbody :checked")) tick.checked = true;
		// None of several is taken by chance.
		if (found || row || all.length < 2) this.follow(found ?? (row ? null : all[0]), event);
		else /** @type {HTMLElement} */ (all[0]).focus();
	}
	/** Follows a link or presses a button, which never acts but by a confirmation. @param {Element | null | undefined} found @param {Event} event */
	follow(found, event) {
		if (!found) return;
		event.preventDefault();
		/** @type {HTMLElement} */ (found).click();
	}
	/** @param {number} by @param {Event} event */
	row(by, event) {
		const rows = [...document.querySelectorAll("tbody tr[data-row]")];
		if (!rows.length) return;
		event.preventDefault();
		const at = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
		rows[at]?.removeAttribute("aria-selected");
		const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
		row.setAttribute("aria-selected", "true");
		row.scrollIntoView({ block: "nearest" });
	}
}
customElements.define("hb-keys", HbKeys);
