// <hb-progress>: asks for the page again while something is under way.
class HbProgress extends HTMLElement {
  connectedCallback() {
    this.timer = setInterval(() => {
      if (!document.hidden) document.dispatchEvent(new Event("hb-refresh"));
    }, 1000);
  }
  disconnectedCallback() {
    clearInterval(this.timer);
  }
}
customElements.define("hb-progress", HbProgress);
