// <hb-copy>: a button that copies the text of its <code> or <pre>.
/** @param {string} text */
export async function copy(text) {
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

class HbCopy extends HTMLElement {
  connectedCallback() {
    if (this.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    const text = () => this.dataset.text ?? this.querySelector("code, pre")?.textContent ?? "";
    button.setAttribute("aria-label", `copy ${text().slice(0, 60)}`);
    button.addEventListener("click", async () => {
      const done = await copy(text());
      button.textContent = done ? "copied" : "select and copy by hand";
      setTimeout(() => (button.textContent = "copy"), 1500);
    });
    this.append(button);
  }
}
customElements.define("hb-copy", HbCopy);
