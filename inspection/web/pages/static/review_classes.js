// Classes of defects of a product, and the dialog that makes one.
import { api, element, segment } from "./api.js";

const cache = new Map();

// All classes of a product, the offered ones first, by their keys.
export async function classesOf(product, { fresh = false } = {}) {
  if (!product) return [];
  if (fresh || !cache.has(product)) {
    cache.set(product, api("GET", "/defect-classes", { query: { product } }).then((answer) => answer.items));
  }
  try {
    return await cache.get(product);
  } catch (error) {
    cache.delete(product);
    throw error;
  }
}

export const offered = (classes) => classes.filter((each) => !each.retired_at);

// Asks for name, colour and key of a class; resolves with the one that was made or changed, or null.
export function askClass(product, known = null) {
  return new Promise((resolve) => {
    const name = element("input", { name: "defect_class", required: true, maxlength: 64, pattern: "\\S+", autocomplete: "off", title: "Without blanks, such as bent-lead", value: known?.defect_class, disabled: Boolean(known) });
    const colour = element("input", { name: "colour", type: "color", value: known?.colour ?? "#e69f00" });
    const own = element("input", { name: "key", maxlength: 1, autocomplete: "off", value: known?.key, placeholder: "next free" });
    const problem = element("p", { class: "problem", role: "alert" });
    let chosen = Boolean(known);
    colour.addEventListener("input", () => (chosen = true));
    const send = async (event) => {
      event.preventDefault();
      const body = { colour: chosen ? colour.value : null, key: own.value.toLowerCase() || null };
      try {
        const made = known
          ? await api("PATCH", `/defect-classes/${segment(known.defect_class)}`, { query: { product }, body })
          : await api("POST", "/defect-classes", { body: { product, defect_class: name.value.trim(), ...body } });
        close(made);
      } catch (error) {
        problem.textContent = error.message;
      }
    };
    const retire = async () => {
      try {
        close(await api("DELETE", `/defect-classes/${segment(known.defect_class)}`, { query: { product } }));
      } catch (error) {
        problem.textContent = error.message;
      }
    };
    const dialog = element(
      "dialog",
      { class: "class-dialog", "aria-labelledby": "class-title", onclose: () => close(null) },
      element(
        "form",
        { method: "dialog", onsubmit: send },
        element("h2", { id: "class-title" }, known ? `Class ${known.defect_class} of ${product}` : `New class of defects of ${product}`),
        element("label", { class: "field" }, "Name", name),
        element("div", { class: "row" }, element("label", { class: "field" }, "Colour", colour), element("label", { class: "field" }, "Key", own)),
        problem,
        element(
          "div",
          { class: "actions" },
          known && element("button", { type: "button", class: "tool danger", onclick: retire }, "Retire"),
          element("span", { class: "grow" }),
          element("button", { type: "button", class: "tool", onclick: () => close(null) }, "Cancel"),
          element("button", { class: "tool primary" }, known ? "Save" : "Add class"),
        ),
      ),
    );
    function close(made) {
      if (made) cache.delete(product);
      dialog.remove();
      resolve(made);
    }
    document.body.append(dialog);
    dialog.showModal();
    (known ? own : name).focus();
  });
}

// Asks why somebody else's word is overridden; resolves with the reason, or null if it is not.
export function askReason(serial, label, others) {
  return new Promise((resolve) => {
    const why = element("input", { name: "reason", required: true, maxlength: 1000, autocomplete: "off" });
    const said = others.map((each) => `${each.labelled_by} said ${each.label}${each.reason ? ` (${each.reason})` : ""}`).join(", ");
    let reason = null;
    const dialog = element(
      "dialog",
      {
        class: "reason-dialog",
        "aria-labelledby": "reason-title",
        onclose: () => {
          dialog.remove();
          resolve(reason);
        },
      },
      element(
        "form",
        {
          method: "dialog",
          onsubmit: () => {
            reason = why.value.trim() || null;
          },
        },
        element("h2", { id: "reason-title" }, `${serial}: ${said}`),
        element("label", { class: "field" }, `Why is it ${label}?`, why),
        element(
          "div",
          { class: "actions" },
          element("button", { type: "button", class: "tool", onclick: () => dialog.close() }, "Cancel"),
          element("button", { class: "tool primary" }, `Label ${label}`),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    why.focus();
  });
}
