// The dry run of a draft: what would have been different for the newest parts of a product.
import { api, element } from "./api.js";
import { at, field } from "./golden.js";

export function dryRun(toml, products) {
  const product = element("select", { name: "product" }, ...products.map((name) => element("option", { value: name }, name)));
  const parts = element("input", { name: "parts", type: "number", min: 1, max: 500, value: 200, required: true });
  const found = element("div", { class: "trial", "aria-live": "polite" });
  const run = element("button", { type: "submit", class: "tool primary" }, "Run");
  const form = element("form", {}, element("h2", {}, "Dry run"),
    element("p", { class: "muted" }, "Tries the draft on parts that were inspected already. Nothing is written."),
    element("div", { class: "trial-of" }, field("Product", product), field("Newest parts", parts), run), found,
    element("div", { class: "actions" }, element("button", { type: "button", class: "tool", onclick: () => dialog.close() }, "Close")));
  const dialog = element("dialog", { class: "wide", "aria-label": "Dry run" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    run.disabled = true;
    found.replaceChildren(element("p", { class: "muted" }, "Running; reading codes from frames takes some seconds …"));
    try {
      found.replaceChildren(...told(await api("POST", "/settings/dry-run", { body: { toml, product: product.value, parts: Number(parts.value) } })));
    } catch (error) {
      found.replaceChildren(element("p", { class: "problem" }, error.message));
    }
    run.disabled = false;
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function told({ parts, oldest_at: oldest, deadline, serial_code: code, notes }) {
  return [
    element("p", {}, parts ? `${parts === 1 ? "1 part" : `${parts} parts`} since ${at(oldest)}.` : "No part of this product was inspected yet."),
    parts && deadline ? trial("Deadline", [
      ["Before", deadline.before_ms === null ? "–" : `${deadline.before_ms} ms`], ["Draft", `${deadline.after_ms} ms`],
      ["Late before", deadline.late_before], ["Late with the draft", deadline.late_after], ["Parts timed", deadline.timed],
      ...(deadline.unknown ? [["Given up, time unknown", deadline.unknown]] : []),
    ], deadline.concerned) : null,
    parts && code ? trial("Code on the part", [
      ["Before", code.before ?? "not compared"], ["Draft", code.after ?? "not compared"], ["Frames read", code.frames],
      ["Same serial", code.same], ["Another serial", code.mismatch], ["Unread", code.unread], ["Without a frame", code.without_frame],
    ], code.concerned) : null,
    parts && !deadline && !code ? element("p", {}, "Deadline and code of this product stay as they are: nothing would have been different for these parts.") : null,
    ...notes.map((note) => element("p", { class: "muted" }, note)),
  ].filter(Boolean);
}

function trial(title, facts, concerned) {
  return element("section", {}, element("h2", {}, title),
    element("dl", { class: "facts trial-facts" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    concerned.length ? element("div", { class: "panel table scrolled" }, element("table", {},
      element("thead", {}, element("tr", {}, ...["Part", "Lot", "Was", "Would be"].map((name) => element("th", {}, name)))),
      element("tbody", {}, ...concerned.map((each) => element("tr", {}, element("td", {}, element("a", { href: `/inspections/${each.seq}`, target: "_blank" }, each.serial)),
        element("td", {}, each.lot), element("td", {}, each.before), element("td", {}, each.after)))))) :
      element("p", {}, "No part would have ended otherwise."));
}
