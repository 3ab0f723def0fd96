// What people do with lots: open one; hold, release and close one with a reason; keep its images by a legal hold.

import { api, element, say, segment } from "./api.js";

const ACTIONS = {
  hold: { word: "Hold", look: "danger", says: "Parts that come are rejected, and nothing of the lot is to leave until it is released.", needed: true },
  release: { word: "Release", look: "primary", says: "The lot is open or closed again, as it was before it was held.", needed: true },
  close: { word: "Close", look: "", says: "Parts that come later are not inspected, and rejected. A closed lot is not opened again.", needed: false },
};
const POSSIBLE = { open: ["hold", "close"], held: ["release"], closed: ["hold"] };

// A dialog with a form; `send` gets the form's values, and its refusal is shown in the dialog.
function ask(title, fields, word, look, send) {
  const refused = element("p", { class: "refused", role: "alert" });
  const dialog = element("dialog", { "aria-label": title });
  const act = element("button", { class: `tool ${look}` }, word);
  const form = element("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      refused.textContent = "";
      act.disabled = true;
      try {
        await send(Object.fromEntries(new FormData(form)));
      } catch (error) {
        refused.textContent = error.message;
      } finally {
        act.disabled = false;
      }
    },
  }, element("h2", {}, title), fields, refused,
  element("div", { class: "actions" }, element("button", { type: "button", class: "tool", onclick: () => dialog.close() }, "Cancel"), act));
  dialog.append(form);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

const reason = (needed) => element("label", { class: "field" }, needed ? "Reason" : "Reason (may stay empty)",
  element("textarea", { name: "reason", rows: 3, maxlength: 1000, required: needed }));

customElements.define("lot-actions", class extends HTMLElement {
  connectedCallback() {
    const lot = this.getAttribute("lot");
    this.replaceChildren(...POSSIBLE[this.getAttribute("state")].map((name) => {
      const { word, look, says, needed } = ACTIONS[name];
      return element("button", {
        type: "button", class: `tool ${look}`,
        onclick: () => ask(`${word} lot ${lot}`, [element("p", {}, says), reason(needed)], `${word} lot`, look || "primary", async (said) => {
          await api("POST", `/lots/${segment(lot)}/${name}`, { body: { reason: said.reason.trim() } });
          location.reload();
        }),
      }, `${word} lot`);
    }));
  }
});

customElements.define("new-lot", class extends HTMLElement {
  connectedCallback() {
    const products = JSON.parse(this.getAttribute("products"));
    const fields = () => [
      element("label", { class: "field" }, "Lot", element("input", { name: "lot", required: true, maxlength: 64, pattern: "\\S+", title: "No blanks", autocomplete: "off" })),
      element("label", { class: "field" }, "Product", element("select", { name: "product" }, products.map((product) => element("option", {}, product)))),
      element("label", { class: "field" }, "Expected quantity (may stay empty)", element("input", { name: "expected", type: "number", min: 1, max: 2147483647, step: 1 })),
      reason(false),
    ];
    this.replaceChildren(element("button", {
      type: "button", class: "tool primary",
      onclick: () => ask("Open a lot", fields(), "Open lot", "primary", async (said) => {
        const opened = await api("POST", "/lots", { body: { lot: said.lot.trim(), product: said.product, expected_quantity: said.expected ? Number(said.expected) : null, reason: said.reason.trim() } });
        say(`Lot ${opened.lot} is open.`);
        location.assign(`/lots/${segment(opened.lot)}`);
      }),
    }, "Open a lot"));
  }
});

// The word "hold" alone is for lots that take no parts; a legal hold stops nothing and keeps images.
customElements.define("legal-hold", class extends HTMLElement {
  connectedCallback() {
    const lot = this.getAttribute("lot");
    const holds = this.getAttribute("holds").split(" ").filter(Boolean);
    const button = (word, title, says, send) => element("button", {
      type: "button", class: "tool",
      onclick: () => ask(title, [element("p", {}, says), reason(true)], title, "primary", async (said) => {
        await send(said.reason.trim());
        location.reload();
      }),
    }, word);
    const place = () => button("Keep its images: legal hold", "Place legal hold", `No image of lot ${lot} is deleted until the hold is released. The lot itself goes on.`,
      (why) => api("POST", "/legal-holds", { body: { lot, reason: why } }));
    const release = (number) => button(holds.length > 1 ? `Release legal hold ${number}` : "Release legal hold", "Release legal hold", `Retention may delete images of lot ${lot} again.`,
      (why) => api("POST", `/legal-holds/${number}/release`, { body: { reason: why } }));
    this.replaceChildren(...(holds.length ? holds.map(release) : [place()]));
  }
});
