// <model-comparison model product>: scores of a model beside those of another, thresholds to move, and the parts that change verdict.

import { Unsuccessful, api, element, say, segment } from "./api.js";
import { Histogram, figure, percent, rocChart } from "./comparison_charts.js";
import { ask } from "./dialogs.js";

const ROWS = 24;
const WORDS = { pass: "Pass", fail: "Fail", review: "Review" };

const decide = (score, limits) => (score === null ? null : score < limits.review ? "pass" : score < limits.fail ? "review" : "fail");
const short = (digest) => digest.slice(0, 12);

function badge(verdict) {
  if (verdict === null) return element("span", { class: "muted" }, "not scored");
  return element("span", { class: `verdict-word ${verdict}` }, WORDS[verdict]);
}

export class ModelComparison extends HTMLElement {
  async connectedCallback() {
    if (this.started) return;
    this.started = true;
    this.model = this.getAttribute("model");
    this.product = this.getAttribute("product");
    this.others = JSON.parse(this.getAttribute("others") || "[]");
    this.wish = { false_rejects: 2, escapes: 1 };
    this.with = this.others.find((other) => other.in_service)?.model ?? this.others[0]?.model ?? "";
    this.learned = false;
    this.filter = "changed";
    this.replaceChildren(element("p", { class: "muted", role: "status" }, "Reading scores …"));
    await this.load();
  }

  query(more = {}) {
    return { with: this.with, learned: this.learned, false_rejects: this.wish.false_rejects / 100, escapes: this.wish.escapes / 100, ...more };
  }

  async load() {
    try {
      this.data = await api("GET", `/models/${this.model}/comparison`, { query: this.query() });
    } catch (error) {
      if (!(error instanceof Unsuccessful)) throw error;
      // Another model can still be chosen.
      this.replaceChildren(this.toolbar(), element("div", { class: "panel" }, element("p", { class: "form-problem", role: "alert" }, error.message)));
      return;
    }
    const own = this.data.model.figures;
    this.own = { review: own.review_threshold, fail: own.fail_threshold };
    this.limits = { ...this.own };
    this.exact = this.data;
    this.draw();
  }

  // What another model makes of a part; where there is no other, what this one does at its own thresholds.
  otherVerdict(part) {
    return this.data.other ? part.other_verdict : decide(part.score, this.own);
  }

  get moved() {
    return this.limits.review !== this.own.review || this.limits.fail !== this.own.fail;
  }

  get counted() {
    return this.data.parts.filter((part) => part.label !== null && (this.learned || !part.learned) && part.score !== null && (!this.data.other || part.other_score !== null));
  }

  draw() {
    const { data } = this;
    if (!data.parts.some((part) => part.score !== null)) {
      this.replaceChildren(this.toolbar(), this.nothing());
      return;
    }
    const groupsOf = (key) => {
      const seen = data.parts.filter((part) => part[key] !== null && (this.learned || !part.learned));
      return [
        { kind: "good", name: "good", scores: seen.filter((part) => part.label === "ok").map((part) => part[key]) },
        { kind: "defective", name: "defective", scores: seen.filter((part) => part.label !== null && part.label !== "ok").map((part) => part[key]) },
        { kind: "unlabelled", name: "unlabelled passes", scores: seen.filter((part) => part.label === null).map((part) => part[key]) },
      ];
    };
    this.histogram = new Histogram({ name: "this model", groups: groupsOf("score"), limits: this.own, onMove: (limits) => this.onMove(limits) });
    const charts = [this.chartPanel("This model", this.histogram, "Move a threshold with the mouse, or with the arrow keys: nothing changes on the line.")];
    if (data.other) {
      const figures = data.other.figures;
      const beside = new Histogram({ name: "the other model", groups: groupsOf("other_score"), limits: { review: figures.review_threshold, fail: figures.fail_threshold } });
      charts.push(this.chartPanel(this.otherName(), beside, data.other.rule));
    }
    this.figures = element("div", { class: "panel table figures-table" });
    this.thresholds = this.thresholdPanel();
    this.rocPlace = element("section", { class: "panel roc-panel" });
    this.parts = element("section", { class: "changed-parts" });
    this.replaceChildren(this.toolbar(), element("p", { class: "chart-legend", "aria-hidden": "true" },
      element("span", {}, element("i", { class: "swatch good" }), "good, by label"), element("span", {}, element("i", { class: "swatch defective" }), "defective, by label"),
      element("span", {}, element("i", { class: "swatch unlabelled" }), "recent passes that nobody labelled")),
    element("div", { class: "histograms" }, charts), this.thresholds, element("div", { class: "figures-row" }, this.figures, this.rocPlace), this.parts);
    this.showFigures();
    this.showRoc();
    this.showParts();
  }

  chartPanel(title, histogram, hint) {
    return element("section", { class: "panel" }, element("h2", {}, title), histogram.element, element("p", { class: "hint muted" }, hint));
  }

  otherName() {
    const other = this.others.find((each) => each.model === this.data.other.model);
    return `${other?.in_service ? "In service" : "The other model"}: ${short(this.data.other.model)}`;
  }

  toolbar() {
    const choose = element("select", { onchange: (event) => { this.with = event.target.value; this.load(); } },
      this.others.map((other) => element("option", { value: other.model, selected: other.model === this.with }, `${short(other.model)} · ${other.words}`)));
    const learned = element("input", { type: "checkbox", onchange: (event) => { this.learned = event.target.checked; this.load(); } });
    learned.checked = this.learned;
    const wish = (name, label) => {
      const input = element("input", { type: "number", min: "0.01", max: "99", step: "any", value: String(this.wish[name]), onchange: () => {
        if (!input.reportValidity()) return;
        this.wish[name] = Number(input.value);
        this.refine();
      } });
      return element("label", { class: "field narrow" }, label, input);
    };
    return element("div", { class: "panel compare-tools" },
      this.others.length ? element("label", { class: "field" }, "Compare with", choose) : element("p", { class: "muted" }, "There is no other model of this product to compare with."),
      wish("false_rejects", "Good parts stopped, at most %"), wish("escapes", "Defects passed, at most %"),
      element("label", { class: "check" }, learned, "count parts that a model learned from"));
  }

  nothing() {
    const parts = this.data.parts.length;
    return element("div", { class: "panel" }, element("p", {}, parts
      ? `This model has not scored the ${parts} stored images of the product yet. The trainer does that after it has gated the model: press “Gate again”.`
      : "No part of this product has a stored image yet. Run the line, label parts on the review page, or add golden images; then gate the model again."));
  }

  thresholdPanel() {
    const input = (which, label) => {
      const made = element("input", { type: "number", min: "0", step: "any", name: which, onchange: () => this.histogram.move(which, Number(made.value)) || this.fillThresholds() });
      return element("label", { class: "field narrow" }, label, made);
    };
    const panel = element("section", { class: "panel threshold-tools" }, element("h2", {}, "Thresholds"),
      input("review", "Review from"), input("fail", "Fail from"),
      element("button", { class: "tool", type: "button", "data-action": "own", onclick: () => { this.histogram.show(this.own); this.onMove({ ...this.own }); } }, "Back to the model's own"),
      element("button", { class: "tool primary", type: "button", "data-action": "make", onclick: () => this.make() }, "Make a model with these thresholds …"),
      element("p", { class: "live-counts", role: "status", "aria-live": "polite" }));
    this.thresholds = panel;
    return panel;
  }

  fillThresholds() {
    for (const which of ["review", "fail"]) this.thresholds.querySelector(`[name=${which}]`).value = Number(this.limits[which].toPrecision(6));
    for (const button of this.thresholds.querySelectorAll("button")) button.disabled = !this.moved;
  }

  onMove(limits) {
    this.limits = { ...limits };
    this.showFigures();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.showParts();
      this.refine();
    }, 250);
  }

  // Intervals and claims at the thresholds as they are now: the station computes them.
  async refine() {
    this.asked?.abort();
    this.asked = new AbortController();
    const chosen = this.moved ? { review_threshold: this.limits.review, fail_threshold: this.limits.fail } : {};
    try {
      this.exact = await api("GET", `/models/${this.model}/comparison`, { query: this.query({ parts: false, ...chosen }), signal: this.asked.signal });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Unsuccessful)) throw error;
      say(error.message, "problem");
      return;
    }
    this.showFigures();
    this.showRoc();
  }

  counts() {
    const counts = { good: 0, defective: 0, false_rejects: 0, escapes: 0, to_review: 0 };
    for (const part of this.counted) {
      const verdict = decide(part.score, this.limits);
      counts.to_review += verdict === "review" ? 1 : 0;
      if (part.label === "ok") {
        counts.good += 1;
        counts.false_rejects += verdict === "pass" ? 0 : 1;
      } else {
        counts.defective += 1;
        counts.escapes += verdict === "pass" ? 1 : 0;
      }
    }
    return counts;
  }

  showFigures() {
    const counts = this.counts();
    const exact = this.exact.model.figures;
    const settled = exact.review_threshold === this.limits.review && exact.fail_threshold === this.limits.fail;
    const other = this.exact.other?.figures;
    this.fillThresholds();
    this.thresholds.querySelector(".live-counts").textContent =
      `At review ${figure(this.limits.review)} and fail ${figure(this.limits.fail)}: ${counts.false_rejects} of ${counts.good} good parts stopped, ${counts.escapes} of ${counts.defective} defective parts passed, ${counts.to_review} to review.`;
    const cell = (events, parts, share, claim, kind) => element("td", { "data-figure": kind },
      parts ? [element("b", {}, `${events} of ${parts}`), element("span", { class: "interval" }, share ? `${percent(events / parts)} (${percent(share.low)} to ${percent(share.high)})` : "…")] : element("span", { class: "muted" }, "no such part"),
      parts && claim ? this.claim(claim) : null);
    const row = (name, kind, events, parts, pair) => element("tr", {}, element("th", { scope: "row" }, name),
      cell(events, parts, settled ? exact[kind] : null, settled ? exact[`${kind}_claim`] : null, kind),
      other ? cell(other[kind].events, other[kind].parts, other[kind], other[`${kind}_claim`], `other-${kind}`) : null,
      other ? element("td", {}, settled && pair ? this.chance(pair) : "") : null);
    const area = (of) => (of.auroc === null ? element("span", { class: "muted" }, "needs both kinds") : [element("b", {}, of.auroc.toFixed(3)), element("span", { class: "interval" }, `${of.auroc_low.toFixed(3)} to ${of.auroc_high.toFixed(3)}`)]);
    const table = element("table", {}, element("caption", {}, "What labelled parts show, with exact 95 % intervals"),
      element("thead", {}, element("tr", {}, element("th", {}, ""), element("th", {}, this.moved ? "This model, moved" : "This model"), other ? element("th", {}, this.otherName()) : null, other ? element("th", {}, "Difference") : null)),
      element("tbody", {}, row("Good parts stopped", "false_rejects", counts.false_rejects, counts.good, this.exact.false_rejects), row("Defects passed", "escapes", counts.escapes, counts.defective, this.exact.escapes),
        row("To review", "to_review", counts.to_review, counts.good + counts.defective, null),
        element("tr", {}, element("th", { scope: "row" }, "AUROC"), element("td", {}, area(exact)), other ? element("td", {}, area(other)) : null, other ? element("td", {}, "") : null)));
    this.figures.replaceChildren(table, this.notes());
  }

  claim(claim) {
    const wished = percent(claim.wished, 1);
    if (claim.holds) return element("span", { class: "claim holds" }, `shows at most ${wished}`);
    return element("span", { class: "claim" }, `${claim.further_parts} more labels without an error would show at most ${wished}`);
  }

  chance(pair) {
    if (pair.only_model === pair.only_other) return "even";
    const [more, by] = pair.only_model > pair.only_other ? ["this model is wrong on more", pair.only_model - pair.only_other] : ["the other is wrong on more", pair.only_other - pair.only_model];
    const word = pair.by_chance < 0.05 ? `hardly by chance (p ${pair.by_chance.toFixed(3)})` : `may be chance (p ${pair.by_chance.toFixed(2)})`;
    return [element("b", {}, `+${by}`), element("span", { class: "interval" }, `${more}; ${word}`)];
  }

  notes() {
    const { data } = this;
    const said = [];
    if (data.left_out && !this.learned) said.push(`${data.left_out} labelled parts are left out, because a model learned from them.`);
    if (data.model.unscored) said.push(`${data.model.unscored} images have no score of this model: gate it again, or they are stored no more.`);
    if (data.other?.unscored) said.push(`${data.other.unscored} images have no score of the other model.`);
    if (this.exact.model.figures.looked) said.push("Thresholds that are chosen while looking at these parts flatter themselves: what is claimed allows for that.");
    said.push("People label parts that they have a reason to look at, so shares of the line are usually lower.");
    return element("ul", { class: "notes muted" }, said.map((text) => element("li", {}, text)));
  }

  showRoc() {
    const of = (name, kind, figures) => ({
      name, kind, area: figures.auroc, points: figures.roc,
      at: figures.auroc === null ? null : { x: figures.false_rejects.events / figures.false_rejects.parts, y: 1 - figures.escapes.events / figures.escapes.parts },
    });
    const curves = [of("this model", "first", this.exact.model.figures)];
    if (this.exact.other) curves.push(of("the other", "second", this.exact.other.figures));
    this.rocPlace.replaceChildren(element("h2", {}, "ROC"),
      curves.some((curve) => curve.points.length) ? rocChart(curves) : element("p", { class: "muted" }, "Needs labelled good and labelled defective parts that no model learned from."),
      element("p", { class: "hint muted" }, curves.length > 1 ? "Solid: this model; dashed: the other. The dots are the review thresholds." : "The dot is the review threshold."));
  }

  chosenParts() {
    const rank = { pass: 0, review: 1, fail: 2 };
    return this.data.parts.map((part) => ({ part, now: decide(part.score, this.limits), before: this.otherVerdict(part) }))
      .filter(({ part, now, before }) => {
        if (now === null) return false;
        if (this.filter === "wrong") return part.label !== null && (now === "pass") !== (part.label === "ok");
        if (before === null || now === before) return false;
        if (this.filter === "stricter") return rank[now] > rank[before];
        if (this.filter === "laxer") return rank[now] < rank[before];
        return true;
      })
      .sort((a, b) => Math.abs(rank[b.now] - (rank[b.before] ?? 0)) - Math.abs(rank[a.now] - (rank[a.before] ?? 0)) || b.part.score - a.part.score);
  }

  showParts(all = false) {
    const found = this.chosenParts();
    const shown = all ? found : found.slice(0, ROWS);
    const names = { changed: "All that change", stricter: "Stopped more", laxer: "Let through more", wrong: "Wrong by label" };
    const filters = element("div", { class: "filters", role: "group", "aria-label": "Which parts" }, Object.entries(names).map(([key, words]) =>
      element("button", { type: "button", class: "tool", "aria-pressed": String(this.filter === key), onclick: () => { this.filter = key; this.showParts(); this.querySelector(`.filters [aria-pressed=true]`)?.focus(); } }, words)));
    const against = this.data.other ? "the other model" : "the model's own thresholds";
    const rows = shown.map(({ part, now, before }) => element("tr", {},
      element("td", { class: "thumb" }, element("button", { type: "button", class: "thumbnail", "aria-label": `Frame and maps of ${part.name}`, onclick: () => this.open(part) }, element("img", { src: `/api/v1/images/${part.sha256}?render=thumbnail`, alt: "", loading: "lazy", width: "96", height: "72" }))),
      element("td", {}, part.seq ? element("a", { class: "strong", href: `/inspections/${part.seq}` }, part.name) : part.name, part.learned ? element("div", { class: "muted" }, "learned from") : null),
      element("td", {}, part.label === null ? element("span", { class: "muted" }, "not labelled") : part.label === "ok" ? "good" : part.label, part.source === "golden" ? element("div", { class: "muted" }, "golden image") : null),
      element("td", {}, badge(before), this.data.other ? element("span", { class: "score-of" }, figure(part.other_score)) : null),
      element("td", {}, badge(now), element("span", { class: "score-of" }, figure(part.score)))));
    const table = element("div", { class: "panel table" }, element("table", {},
      element("thead", {}, element("tr", {}, ["Image", "Part", "Label", this.data.other ? "Other model" : "Own thresholds", this.moved ? "This model, moved" : "This model"].map((text) => element("th", {}, text)))), element("tbody", {}, rows)));
    this.parts.replaceChildren(element("div", { class: "title results" }, element("h2", {}, this.filter === "wrong" ? "Parts that are judged wrong, by their labels" : `Parts that change verdict against ${against}`, element("span", { class: "count" }, ` ${found.length}`)), filters),
      found.length ? table : element("div", { class: "panel" }, element("p", {}, this.filter === "wrong" ? "No labelled part is judged wrong." : this.data.other || this.moved ? "No part changes its verdict." : "Move a threshold to see which parts change their verdict.")),
      found.length > shown.length ? element("p", {}, element("button", { class: "tool", type: "button", onclick: () => this.showParts(true) }, `Show all ${found.length}`)) : "");
  }

  // Frame and what both models saw in it.
  open(part) {
    const picture = (title, map, score, verdict) => element("figure", {},
      element("div", { class: "overlaid" }, element("img", { src: `/api/v1/images/${part.sha256}`, alt: `Frame of ${part.name}` }), map ? element("img", { class: "map", src: map, alt: `Anomaly map of ${title}` }) : null),
      element("figcaption", {}, element("b", {}, title), " ", badge(verdict), ` score ${figure(score)}`, map ? "" : element("span", { class: "muted" }, " · no map is stored")));
    const dialog = element("dialog", { class: "part-dialog", "aria-label": part.name },
      element("div", { class: "title" }, element("h2", {}, part.name), element("span", { class: "muted" }, part.label === null ? "not labelled" : `label: ${part.label}`),
        part.seq ? element("a", { href: `/inspections/${part.seq}` }, "Open the inspection") : ""),
      element("div", { class: "pictures" }, picture("This model", part.map, part.score, decide(part.score, this.limits)), this.data.other ? picture(this.otherName(), part.other_map, part.other_score, part.other_verdict) : ""),
      element("div", { class: "actions" }, element("button", { class: "tool", type: "button", "data-action": "map" }, element("span", { class: "when-on" }, "Hide map"), element("span", { class: "when-off" }, "Show map")),
        element("button", { class: "tool primary", type: "button", onclick: () => dialog.close() }, "Close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  async make() {
    const counts = this.counts();
    const made = await ask({
      title: "Make a model with these thresholds",
      intro: [`Review from ${figure(this.limits.review)}, fail from ${figure(this.limits.fail)}: ${counts.false_rejects} of ${counts.good} good parts stopped, ${counts.escapes} of ${counts.defective} defective parts passed.`,
        "Models never change: this makes another one, which has to pass its gate before it may be deployed. What the calibration claimed of the former thresholds is not claimed of these."],
      fields: [{ name: "reason", label: "Why these thresholds", rows: 3 }],
      action: "Make the model",
      act: ({ reason }) => api("POST", `/models/${this.model}/thresholds`, { body: { product: this.product, review_threshold: this.limits.review, fail_threshold: this.limits.fail, reason } }),
    });
    if (made) location.assign(`/models/${segment(made.model.model)}`);
  }
}

customElements.define("model-comparison", ModelComparison);
