// A form in a dialog: labelled fields, one button that does it, and the problem said where the person is looking.

import { Unsuccessful, element } from "./api.js";

let numbered = 0;

// `fields`: [{name, label, hint, value, rows, required}]. `act(values)` does it; what it throws is shown in the dialog.
// Resolves to what `act` returned, or to undefined if the person left.
export function ask({ title, intro = [], fields = [], action, danger = false, act }) {
  return new Promise((resolve) => {
    const number = (numbered += 1);
    const problem = element("p", { class: "form-problem", role: "alert", hidden: true });
    const inputs = fields.map((field) => {
      const attributes = { name: field.name, required: field.required !== false, maxlength: field.maxlength ?? 1000 };
      const input = field.rows ? element("textarea", { ...attributes, rows: field.rows }) : element("input", { ...attributes, type: "text" });
      input.value = field.value ?? "";
      return element("label", { class: "field" }, field.label, input, field.hint ? element("span", { class: "hint" }, field.hint) : null);
    });
    const submit = element("button", { class: `tool ${danger ? "danger" : "primary"}`, type: "submit" }, action);
    const form = element("form", { method: "dialog" },
      element("h2", { id: `dialog-${number}` }, title), intro.map((part) => (typeof part === "string" ? element("p", {}, part) : part)), inputs, problem,
      element("div", { class: "actions" }, element("button", { class: "tool", type: "button", onclick: () => dialog.close() }, "Leave as it is"), submit));
    const dialog = element("dialog", { "aria-labelledby": `dialog-${number}` }, form);
    let done;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      problem.hidden = true;
      try {
        done = await act(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])), dialog);
        dialog.close();
      } catch (error) {
        if (!(error instanceof Unsuccessful)) throw error;
        problem.replaceChildren(error.message);
        if (error.code === "stale") problem.append(" ", element("button", { class: "tool", type: "button", onclick: () => location.reload() }, "Reload the page"));
        problem.hidden = false;
      } finally {
        submit.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
