// <hb-keys>: keys for those who like them; one switch turns all of them off.
import { nextMode } from "./hb-time.js";
import { copy } from "./hb-copy.js";

const PAGES = { o: "/", e: "/events", f: "/failures", m: "/map", p: "/plugins", s: "/sources", c: "/schedules", k: "/kv", t: "/settings" };
const HELP = [["?", "this list"], ["/", "find"], ["g o", "overview"], ["g e", "events"], ["g f", "failures"], ["g m", "map"], ["g p", "plugins"], ["g s", "sources"], ["g c", "schedules"], ["g k", "keys"], ["g t", "settings"], ["j k", "next, previous row"], ["Enter", "open"], ["x", "select"], ["r", "retry"], ["d", "discard"], ["R", "replay"], ["e", "edit and replay"], ["l", "live on, off"], ["y", "copy the id"], ["c", "copy as command"], ["[ ]", "newer, older"], ["u", "up"], ["1 – 5", "tabs"]];
const off = () => document.cookie.includes("hb-keys=off");

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
    const keys = add(off() ? "shortcuts: off" : "shortcuts: on", () => {
      document.cookie = `hb-keys=${off() ? "on" : "off"}; path=/; max-age=31536000; samesite=strict`;
      keys.textContent = off() ? "shortcuts: off" : "shortcuts: on";
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
    for (const [key, text] of HELP) {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = key;
      dd.textContent = text;
      list.append(dt, dd);
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
    else if (key === "/") this.focusOn("#find", event);
    else if (key === "j" || key === "k") this.row(key === "j" ? 1 : -1, event);
    else if (key === "Enter") this.follow("tr[aria-selected=true] a", event, target);
    else if (key === "x") /** @type {HTMLElement | null} */ (document.querySelector("tr[aria-selected=true] input[type=checkbox]"))?.click();
    else if (key === "l") /** @type {HTMLElement | null} */ (document.querySelector("hb-live button"))?.click();
    else if (key === "y") this.copy(this.selected()?.getAttribute("data-row") ?? document.querySelector("[data-id]")?.getAttribute("data-id"));
    else if (key === "c") this.copy(document.querySelector("footer code")?.textContent);
    else this.follow(`[data-key="${CSS.escape(key)}"]`, event);
  }
  selected() {
    return document.querySelector("tr[aria-selected=true]");
  }
  /** @param {string | null | undefined} text */
  copy(text) {
    if (text) copy(text);
  }
  /** @param {string} path @param {Event} event */
  go(path, event) {
    event.preventDefault();
    location.assign(path);
  }
  /** @param {string} what @param {Event} event */
  focusOn(what, event) {
    event.preventDefault();
    /** @type {HTMLElement | null} */ (document.querySelector(what))?.focus();
  }
  /** Follows a link or presses a button of the page, which never acts but by a confirmation. @param {string} what @param {Event} event @param {HTMLElement} [from] */
  follow(what, event, from) {
    if (from && /^(A|BUTTON|SUMMARY)$/.test(from.tagName)) return;
    const found = /** @type {HTMLElement | null} */ (document.querySelector(what));
    if (found) {
      event.preventDefault();
      found.click();
    }
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
