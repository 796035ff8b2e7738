// <hb-json>: says while one types whether the text in it is JSON.
class HbJson extends HTMLElement {
  connectedCallback() {
    const field = this.querySelector("textarea");
    const says = this.querySelector("output");
    const check = () => {
      if (!field || !says) return;
      says.textContent = "it is JSON";
      try {
        JSON.parse(field.value);
      } catch (error) {
        says.textContent = `it is no JSON: ${/** @type {Error} */ (error).message}`;
      }
    };
    this.addEventListener("input", check);
    check();
  }
}
customElements.define("hb-json", HbJson);
