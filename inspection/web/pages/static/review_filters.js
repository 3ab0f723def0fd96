// <review-filters products='["flange"]'>: which parts are reviewed, kept in the page's address.
//
// Event `changed` with `detail`, the query of GET /review.
import { api, element } from "./api.js";
import { classesOf } from "./review_classes.js";

const VERDICTS = [["review", "Review"], ["fail", "Fail"]];
const SAMPLES = [["0", "none"], ["50", "1 in 50"], ["10", "1 in 10"], ["1", "all"]];

class ReviewFilters extends HTMLElement {
  connectedCallback() {
    if (this.form) return;
    const asked = new URLSearchParams(location.search);
    const products = JSON.parse(this.getAttribute("products") ?? "[]");
    const select = (name, label, options) =>
      element("label", { class: "field" }, label, element("select", { name }, options.map(([value, text]) => element("option", { value }, text))));
    const input = (name, label, attributes = {}) => element("label", { class: "field" }, label, element("input", { name, ...attributes }));
    this.labels = element("select", { name: "label" });
    this.challengers = element("select", { name: "disagrees_with" }, element("option", { value: "" }, "–"));
    this.form = element(
      "form",
      { class: "filter-form", role: "search", "aria-label": "Which parts", onsubmit: (event) => event.preventDefault(), onchange: () => this.changed() },
      select("product", "Product", [["", "all"], ...products.map((product) => [product, product])]),
      element(
        "fieldset",
        { class: "field" },
        element("legend", {}, "Verdicts"),
        element(
          "div",
          { class: "checks" },
          VERDICTS.map(([value, text]) => element("label", {}, element("input", { type: "checkbox", name: "verdict", value, checked: true }), ` ${text}`)),
        ),
      ),
      select("sample", "Passed parts", SAMPLES),
      element("label", { class: "field" }, "Label", this.labels),
      select("order", "First", [["newest", "the newest"], ["uncertain", "the least certain"]]),
      element("label", { class: "field check" }, element("input", { type: "checkbox", name: "conflicting", value: "true" }), " Conflicts only"),
      element(
        "details",
        { class: "more" },
        element("summary", { class: "tool" }, "More filters"),
        element(
          "div",
          { class: "panel more-fields" },
          input("lot", "Lot", { maxlength: 64 }),
          input("proposed_class", "Looks like", { maxlength: 64 }),
          input("from", "Decided from", { type: "datetime-local" }),
          input("to", "Decided before", { type: "datetime-local" }),
          input("score_min", "Score from", { type: "number", step: "any" }),
          input("score_max", "Score to", { type: "number", step: "any" }),
          input("model", "Model", { maxlength: 64, placeholder: "digest" }),
          element("label", { class: "field" }, "Shadow model disagrees", this.challengers),
          element("button", { type: "button", class: "tool", onclick: () => this.clear() }, "Clear all"),
        ),
      ),
    );
    this.append(this.form);
    this.form.elements.sample.value = "50";
    this.offerLabels([]);
    this.restore(asked);
    this.offer();
    document.addEventListener("click", (event) => {
      const more = this.form.querySelector("details");
      if (more.open && !more.contains(event.target)) more.open = false;
    });
  }

  restore(asked) {
    const fields = this.form.elements;
    for (const [name, value] of asked) {
      if (!fields[name] || name === "verdict") continue;
      if (fields[name].type === "checkbox") fields[name].checked = value === "true";
      else if (name === "from" || name === "to") fields[name].value = localTime(value);
      else this.put(fields[name], value);
    }
    if (asked.has("verdict")) {
      for (const box of this.form.querySelectorAll("[name=verdict]")) box.checked = asked.getAll("verdict").includes(box.value);
    }
    if (asked.has("verdict") && !asked.getAll("verdict").includes("pass")) this.put(fields.sample, "0");
    if (asked.has("labelled")) fields.label.value = asked.get("labelled") === "true" ? "*" : "!";
    else if (!asked.has("label")) fields.label.value = asked.size && !asked.has("seq") ? "" : "!";
  }

  // A value that is not offered (yet) is offered.
  put(field, value) {
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) field.append(element("option", { value }, value));
    field.value = value;
  }

  offerLabels(classes) {
    const chosen = this.labels.value;
    this.labels.replaceChildren(
      ...[["!", "none yet"], ["", "any or none"], ["*", "any"], ["ok", "ok"], ...classes.map((each) => [each.defect_class, each.defect_class])].map(
        ([value, text]) => element("option", { value }, text),
      ),
    );
    if (chosen) this.put(this.labels, chosen);
  }

  // What there is to choose from: classes of the product, challengers.
  async offer() {
    const product = this.form.elements.product.value;
    const [classes, shadows] = await Promise.all([
      classesOf(product).catch(() => []),
      this.shadows ? null : api("GET", "/shadows").catch(() => null),
    ]);
    this.offerLabels(classes);
    if (!shadows) return;
    this.shadows = true;
    const chosen = this.challengers.value;
    for (const model of new Set(shadows.items.map((each) => each.model))) {
      if (model !== chosen) this.challengers.append(element("option", { value: model }, model.slice(0, 12)));
    }
  }

  // Without the names that are at what the station takes anyway.
  get query() {
    const fields = new FormData(this.form);
    const text = (name) => fields.get(name)?.trim() || null;
    const verdicts = fields.getAll("verdict");
    const label = fields.get("label");
    const sample = fields.get("sample");
    return {
      order: text("order"),
      verdict: sample === "0" && verdicts.length ? verdicts : [...verdicts, "pass"],
      sample,
      product: text("product"),
      lot: text("lot"),
      proposed_class: text("proposed_class"),
      from: moment(text("from")),
      to: moment(text("to")),
      score_min: text("score_min"),
      score_max: text("score_max"),
      model: text("model"),
      disagrees_with: text("disagrees_with"),
      labelled: label === "!" ? "false" : label === "*" ? "true" : null,
      label: ["!", "*", ""].includes(label) ? null : label,
      conflicting: fields.get("conflicting"),
    };
  }

  changed() {
    // A conflict is among labels: "none yet" would find none.
    if (this.form.elements.conflicting.checked && this.labels.value === "!") this.labels.value = "";
    const query = this.query;
    const address = new URL(location.pathname, location.origin);
    for (const [name, value] of Object.entries(query)) {
      for (const each of [value].flat()) if (each !== null && each !== "") address.searchParams.append(name, each);
    }
    history.replaceState(null, "", address);
    this.offer();
    this.dispatchEvent(new CustomEvent("changed", { detail: query }));
  }

  clear() {
    this.form.reset();
    this.form.elements.sample.value = "50";
    this.labels.value = "!";
    this.changed();
  }
}

const moment = (local) => (local ? new Date(local).toISOString() : null);

function localTime(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

customElements.define("review-filters", ReviewFilters);
