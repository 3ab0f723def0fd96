// <part-panel>: what is known of the part under review, what people said of it, and the buttons that decide.
//
// Events: `decide` with `detail`, the label; `act` with `detail`, one of the page's other actions.
import { element } from "./api.js";
import { offered } from "./review_classes.js";

const TOOLS = [
  ["box", "B", "Box"],
  ["polygon", "P", "Polygon"],
  ["brush", "R", "Brush"],
  ["erase", "E", "Eraser"],
];

const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const time = (text) => new Date(text).toLocaleString("sv-SE");

export const key = (name) => element("kbd", {}, name);

class PartPanel extends HTMLElement {
  connectedCallback() {
    if (this.facts) return;
    const act = (what) => () => this.dispatchEvent(new CustomEvent("act", { detail: what }));
    this.facts = element("section", { class: "part", "aria-label": "Part", "aria-live": "polite" });
    this.said = element("section", { class: "said", "aria-label": "Labels" });
    this.classes = element("div", { class: "classes" });
    this.tools = element(
      "div",
      { class: "region-tools", role: "toolbar", "aria-label": "Regions" },
      TOOLS.map(([kind, letter, name]) => element("button", { type: "button", class: "tool", "data-kind": kind, "aria-pressed": "false", onclick: act(kind) }, name, key(letter))),
      element("button", { type: "button", class: "tool", "data-act": "suggest", onclick: act("suggest") }, "Suggest", key("U")),
      element("button", { type: "button", class: "tool", onclick: act("clear") }, "Clear", key("Del")),
    );
    this.diameter = element("input", { type: "range", min: 3, max: 200, value: 24, "aria-label": "Brush diameter in pixels" });
    this.threshold = element("input", { type: "range", min: 0, max: 1, step: "any", "aria-label": "Score from which a region is suggested" });
    this.thresholdText = element("output", {});
    this.sliders = element(
      "div",
      { class: "sliders" },
      element("label", {}, "Brush", this.diameter),
      element("label", {}, "Suggest from", this.threshold, this.thresholdText),
    );
    this.progress = element("section", { class: "progress", "aria-label": "Progress" });
    this.append(
      this.progress,
      this.facts,
      this.said,
      element(
        "section",
        { class: "decide", "aria-label": "Decide" },
        element("button", { type: "button", class: "tool good", onclick: () => this.decide("ok") }, "Good part", key("O")),
        this.classes,
        element(
          "div",
          { class: "moves" },
          element("button", { type: "button", class: "tool", onclick: act("previous") }, "Previous", key("←")),
          element("button", { type: "button", class: "tool", onclick: act("skip") }, "Skip", key("→")),
          element("button", { type: "button", class: "tool", onclick: act("undo") }, "Undo", key("Z")),
        ),
      ),
      element("section", { class: "mark", "aria-label": "Mark the defect" }, element("h2", {}, "Where"), this.tools, this.sliders),
    );
    // What was clicked does not keep the keyboard: Space is the page's.
    this.addEventListener("pointerup", () => document.activeElement?.closest?.("button")?.blur());
  }

  decide(label) {
    this.dispatchEvent(new CustomEvent("decide", { detail: label }));
  }

  show(item) {
    this.facts.replaceChildren(...(item ? this.about(item) : []));
    this.said.replaceChildren(...(item ? this.labels(item) : []));
    const known = item?.inspection.fail_threshold;
    this.threshold.disabled = !known;
    if (known) {
      this.threshold.max = 2 * known;
      this.threshold.value = item.inspection.review_threshold;
      this.showThreshold();
    }
  }

  showThreshold() {
    this.thresholdText.textContent = number(Number(this.threshold.value));
  }

  about({ inspection, shadow_verdict, shadow_score, returned }) {
    const badge = document.getElementById(`badge-${inspection.verdict}`).content.cloneNode(true);
    const facts = [
      ["Lot", element("a", { href: `/lots/${encodeURIComponent(inspection.lot)}` }, inspection.lot)],
      ["Product", `${inspection.product ?? "–"} · ${inspection.camera}`],
      ["Decided", time(inspection.decided_at)],
      inspection.model && ["Model", element("code", { title: inspection.model }, inspection.model.slice(0, 12))],
      shadow_verdict && ["Shadow", `${shadow_verdict}, ${number(shadow_score)}`],
    ];
    return [
      returned && element("p", { class: "returned" }, `Came back: ${returned}`),
      element("div", { class: "pair" }, element("a", { class: "serial", href: `/inspections/${inspection.seq}`, title: inspection.serial }, inspection.serial), badge),
      inspection.score !== null && scoreBar(inspection),
      inspection.proposed_class && element("p", { class: "looks" }, `Looks like: ${inspection.proposed_class}`),
      element("dl", { class: "facts" }, facts.filter(Boolean).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    ].filter(Boolean);
  }

  labels({ labels, standing, conflicting, decision }) {
    const shown = [];
    if (conflicting) {
      shown.push(
        element(
          "div",
          { class: "conflict", role: "note" },
          element("b", {}, "Two opinions"),
          standing.map((each) => element("p", {}, `${each.labelled_by}: `, element("b", {}, each.label), each.reason && ` – ${each.reason}`)),
          element("p", { class: "muted" }, "The next label settles it; the reason is asked for."),
        ),
      );
    }
    const [newest] = labels;
    if (decision && decision !== newest?.label) shown.push(element("p", {}, "You say ", element("b", {}, decision)));
    else if (newest?.label && !conflicting) shown.push(element("p", {}, `${newest.labelled_by} said `, element("b", {}, newest.label), newest.reason && ` – ${newest.reason}`));
    else if (newest && !newest.label) shown.push(element("p", { class: "muted" }, `${newest.labelled_by} took the label back`));
    return shown;
  }

  showClasses(classes, canAdd) {
    this.classes.replaceChildren(
      ...offered(classes).map((each) =>
        element(
          "div",
          { class: "class" },
          element(
            "button",
            { type: "button", class: "tool", style: `--class-colour:${each.colour}`, "data-class": each.defect_class, onclick: () => this.decide(each.defect_class) },
            element("i", { class: "swatch" }),
            element("span", {}, each.defect_class),
            each.key && key(each.key.toUpperCase()),
          ),
          element("button", { type: "button", class: "edit", "aria-label": `Change class ${each.defect_class}`, onclick: () => this.dispatchEvent(new CustomEvent("act", { detail: { change: each } })) }, "…"),
        ),
      ),
      element("button", { type: "button", class: "tool new-class", disabled: !canAdd, onclick: () => this.dispatchEvent(new CustomEvent("act", { detail: "class" })) }, "New class", key("N")),
    );
  }

  showTool(kind) {
    for (const button of this.tools.querySelectorAll("[data-kind]")) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
    this.sliders.firstChild.classList.toggle("idle", kind !== "brush" && kind !== "erase");
  }

  showProgress(left, done, agreement) {
    const figures = [
      ["left", `${left.count}${left.capped ? "+" : ""}`],
      ["done now", String(done)],
      ["as the machine", agreement.judged ? `${Math.round((100 * agreement.agreed) / agreement.judged)} %` : "–"],
    ];
    this.progress.replaceChildren(...figures.map(([name, value]) => element("div", {}, element("b", {}, value), element("span", {}, name))));
  }
}

// The same bar as on the other pages: the fail threshold in the middle.
function scoreBar({ score, review_threshold, fail_threshold }) {
  const at = (value) => (fail_threshold > 0 ? Math.min(Math.max((50 * value) / fail_threshold, 0), 100) : 100);
  const zone = (name, width) => element("i", { class: `zone ${name}`, style: width === null ? null : `width:${width}%` });
  return element(
    "div",
    { class: "scored" },
    element("b", { class: "figure" }, element("span", {}, "Score"), number(score)),
    fail_threshold &&
      element(
        "div",
        { class: "score", role: "img", "aria-label": `score ${number(score)}, review from ${number(review_threshold)}, fail from ${number(fail_threshold)}` },
        element(
          "div",
          { class: "track" },
          zone("pass", at(review_threshold)),
          zone("review", at(fail_threshold) - at(review_threshold)),
          zone("fail", null),
          element("b", { class: "needle", style: `left:${at(score)}%` }),
        ),
      ),
  );
}

customElements.define("part-panel", PartPanel);
