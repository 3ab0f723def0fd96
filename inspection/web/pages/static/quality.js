// The quality page: asks for the figures of a product and a time, and draws them. Choices are kept in the address.

import { api, element, plural, say } from "./api.js";
import { chart, clock, count, day, histogram, moment, paretoTable, percent } from "./charts.js";

const SPANS = { 1: "24 hours", 7: "7 days", 30: "30 days", 90: "90 days", 365: "12 months" };
const BUCKETS = { "": "fitting", hour: "hours", day: "days", week: "weeks" };
const VERDICTS = { pass: "Pass", fail: "Fail", review: "Review", not_inspected: "Not inspected" };
const HOUR_MS = 3600e3;

customElements.define("quality-page", class extends HTMLElement {
  connectedCallback() {
    this.reasons = JSON.parse(this.getAttribute("reasons"));
    this.products = JSON.parse(this.getAttribute("products"));
    this.body = element("div", { class: "figures", "aria-live": "polite", "aria-busy": "true" });
    this.replaceChildren(this.form(), this.body);
    this.load();
  }

  disconnectedCallback() {
    this.asking?.abort();
  }

  form() {
    const asked = new URLSearchParams(location.search);
    const select = (name, label, choices, chosen) => element("label", { class: "field" }, label,
      element("select", { name }, Object.entries(choices).map(([value, words]) => element("option", { value, selected: value === chosen }, words))));
    const products = Object.fromEntries([["", "All products"], ...this.products.map((product) => [product, product])]);
    const date = (name, label) => element("label", { class: "field" }, label, element("input", { type: "date", name, value: asked.get(name) ?? "" }));
    // The last days, or from one day to another.
    const days = asked.get("from") || asked.get("to") ? "dates" : asked.get("days") ?? "7";
    const form = element("form", { class: "choices", "aria-label": "What the figures are of" },
      select("product", "Product", products, asked.get("product") ?? (this.products.length === 1 ? "" : this.products[0] ?? "")),
      select("days", "Time", { ...Object.fromEntries(Object.entries(SPANS).map(([value, words]) => [value, `Last ${words}`])), dates: "From … to …" }, days),
      date("from", "From"), date("to", "To and with"),
      select("bucket", "In", BUCKETS, asked.get("bucket") ?? ""),
      element("button", { class: "tool" }, "Read again"));
    form.dataset.days = days;
    form.addEventListener("change", () => {
      form.dataset.days = form.elements.days.value;
      if (form.elements.days.value !== "dates" || form.elements.from.value) this.load();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load();
    });
    return form;
  }

  async load() {
    const { product, days, from, to, bucket } = Object.fromEntries(new FormData(this.querySelector("form")));
    const query = { product, bucket };
    if (days === "dates") {
      query.from = from && new Date(`${from}T00:00`).toISOString();
      if (to) {
        const end = new Date(`${to}T00:00`);
        end.setDate(end.getDate() + 1);
        query.to = end.toISOString();
      }
    } else if (days !== "7") query.from = new Date(Math.floor(Date.now() / 60e3) * 60e3 - days * 24 * HOUR_MS).toISOString();
    const kept = new URLSearchParams(Object.entries(days === "dates" ? { product, from, to, bucket } : { product, days, bucket }).filter(([, value]) => value));
    history.replaceState(history.state, "", `?${kept}`);
    this.asking?.abort();
    this.asking = new AbortController();
    this.body.setAttribute("aria-busy", "true");
    try {
      const answer = await api("GET", "/quality", { query, signal: this.asking.signal });
      this.body.replaceChildren(...this.draw(answer));
      this.body.setAttribute("aria-busy", "false");
    } catch (error) {
      if (error.name === "AbortError") return;
      this.body.setAttribute("aria-busy", "false");
      say(error.message, "problem");
    }
  }

  draw({ quality, read_at: readAt, read_ms: readMs }) {
    const found = `${moment(new Date(quality.start))} to ${moment(new Date(quality.end))}, read ${clock(new Date(readAt))} in ${readMs.toFixed(0)} ms.`;
    if (quality.inspections === 0) {
      return [element("section", { class: "panel" }, element("p", {}, "No part was inspected in this time. Choose a longer time, or another product."), element("p", { class: "muted" }, found))];
    }
    const sampled = quality.stride === 1 ? "every inspection" : `every ${count(quality.stride)}th inspection, ${count(quality.sampled)} in all`;
    return [
      tiles(quality),
      signals(quality),
      lots(quality),
      periods(quality, sampled),
      element("div", { class: "columns" },
        panel(pareto(quality, this.reasons)),
        element("div", { class: "column" }, panel(labelled(quality.labelled)), scores(quality, sampled), latency(quality, sampled))),
      ...drifts(quality, sampled),
      optics(quality, sampled),
      element("p", { class: "muted" }, `${found} ${quality.lots_left_out ? "Only the newest 500 lots of the product are counted. " : ""}Stopped parts are those with verdict fail or review.`),
    ].filter(Boolean);
  }
});

const panel = (...children) => element("section", { class: "panel" }, ...children);

function tiles({ inspections, verdicts, lots, labelled }) {
  const of = (name) => verdicts.find((bar) => bar.name === name)?.count ?? 0;
  const inspected = inspections - of("not_inspected");
  const sum = (part) => [lots.reduce((total, lot) => total + lot[part].events, 0), lots.reduce((total, lot) => total + lot[part].parts, 0)];
  const [first, firstOf] = sum("first_pass");
  const [accepted, acceptedOf] = sum("accepted");
  const share = (part, all) => (all ? percent(Math.floor((1000 * part) / all) / 1000) : "–");
  const tile = (name, value, hint, look) => element("div", { class: `tile-figure ${look ?? ""}` }, element("b", {}, value), element("span", {}, name), element("small", { class: "muted" }, hint));
  return element("section", { class: "panel figures-row", "aria-label": "In short" },
    tile("Inspections", count(inspections), `in the ${plural(lots.length, "lot")} shown`),
    tile("First-pass yield", share(first, firstOf), `${count(first)} of ${count(firstOf)} parts in the lots shown`, "pass"),
    tile("Accepted", share(accepted, acceptedOf), `${count(accepted)} of ${count(acceptedOf)} in the lots shown`),
    tile("Stopped", share(of("fail") + of("review"), inspected), `${count(of("fail"))} fail, ${count(of("review"))} review`, "fail"),
    tile("Not inspected", share(of("not_inspected"), inspections), `${count(of("not_inspected"))} parts`, "not_inspected"),
    tile("Rejects that were good", labelled.false_rejects.parts ? percent(labelled.false_rejects.share) : "–", labelled.false_rejects.parts ? `${labelled.false_rejects.events} of ${labelled.false_rejects.parts} labelled` : "no reject labelled"));
}

function signals({ signals: found, lot_chart: lotChart }) {
  const few = lotChart && lotChart.points < 12 ? ` Limits from ${plural(lotChart.points, "lot")} are rough; from 20 on they can be relied on.` : "";
  if (found.length === 0) return element("section", { class: "panel in-control" }, element("p", {}, element("b", {}, "In control."), ` No lot and no period is beyond its limits or in an unlikely run.${few}`));
  return element("section", { class: "panel signals" }, element("h2", {}, "Out of control"),
    element("ul", {}, [...found].reverse().map((signal) => element("li", {}, signal.lot
      ? [element("a", { href: `/lots/${encodeURIComponent(signal.lot)}` }, `Lot ${signal.lot}`), signal.words.slice(`Lot ${signal.lot}`.length)]
      : signal.words))),
    few && element("p", { class: "muted" }, few.trim()));
}

function shares(points, mean) {
  return [
    { kind: "band", name: "limits", look: "limits", lower: points.map((point) => point?.lower ?? null), upper: points.map((point) => point?.upper ?? null) },
    { kind: "line", name: "mean", look: "centre", dash: true, values: points.map(() => mean) },
    { kind: "points", name: "stopped", look: "data", join: true, values: points.map((point) => point?.share ?? null) },
  ];
}

function lots({ lots: found, lot_chart: line, signals: told }) {
  if (!line) return null;
  const href = (index) => `/lots/${encodeURIComponent(found[index].lot)}`;
  const marks = found.flatMap((lot, index) => (lot.stopped.rules.length ? [{ index, href: href(index), words: told.find((signal) => signal.lot === lot.lot)?.words ?? "out of control" }] : []));
  const x = { values: found.map((lot) => lot.lot), name: "Lot", href, says: (lot) => `Lot ${lot}` };
  const hint = `Mean ${percent(line.mean, 2)}, σz ${line.sigma_z.toFixed(2)}: shares of lots vary ${line.sigma_z > 1 ? `${line.sigma_z.toFixed(1)} times as much as` : "no more than"} chance alone lets them. Click a lot to open it.`;
  return panel(
    chart({ title: "Stopped parts by lot (Laney p′ chart)", hint, x, y: { min: 0, says: percent }, layers: shares(found.map((lot) => lot.stopped), line.mean), marks, height: 240 }),
    chart({
      title: "Yield by lot", x, hint: "First pass: parts that passed at their first attempt. Accepted: inspections whose part the line let through.",
      y: { max: 1, says: percent }, height: 180,
      layers: [
        { kind: "points", name: "first pass", look: "pass", join: true, values: found.map((lot) => lot.first_pass.share) },
        { kind: "points", name: "accepted", look: "accepted", values: found.map((lot) => lot.accepted.share) },
      ],
    }));
}

function periods({ periods: all, period_chart: line, bucket }, sampled) {
  if (!line) return null;
  const total = (period) => period.passed + period.failed + period.review + period.not_inspected;
  // Before the first part and after the last there is nothing to see.
  const found = all.slice(all.findIndex(total), all.findLastIndex(total) + 1);
  const says = (start) => (bucket === "hour" ? moment(start) : bucket === "day" ? day(start) : `week from ${day(start)}`);
  const x = { values: found.map((period) => new Date(period.start)), time: true, says, name: { hour: "Hour", day: "Day", week: "Week" }[bucket] };
  const points = found.map((period) => period.stopped);
  const marks = points.flatMap((point, index) => (point?.rules.length ? [{ index, words: "out of control" }] : []));
  return panel(
    chart({ title: `Stopped parts by ${bucket} (Laney p′ chart)`, x, y: { min: 0, says: percent }, marks, layers: shares(points, line.mean), height: 220 }),
    chart({
      title: `Yield by ${bucket}`, x, hint: `Pass is counted; first pass and accepted are of ${sampled}.`, y: { max: 1, says: percent }, height: 180,
      layers: [
        { kind: "points", name: "pass", look: "pass", join: true, values: found.map((period) => (total(period) ? period.passed / total(period) : null)) },
        { kind: "line", name: "first pass", look: "data", dash: true, values: found.map((period) => period.first_pass.share) },
        { kind: "points", name: "accepted", look: "accepted", values: found.map((period) => period.accepted.share) },
      ],
    }));
}

function pareto(quality, reasons) {
  const read = quality.stopped_read < quality.stopped_parts ? ` Of the newest ${count(quality.stopped_read)} of ${count(quality.stopped_parts)} parts that did not pass.` : "";
  return element("div", { class: "paretos" },
    paretoTable({ title: "Verdicts", head: "Verdict", bars: quality.verdicts.map((bar) => ({ ...bar, look: bar.name })), words: (name) => VERDICTS[name], empty: "" }),
    paretoTable({ title: "Classes of defects", head: "Class", bars: quality.classes, empty: "No part was stopped." }),
    paretoTable({ title: "Why not inspected", head: "Reason", bars: quality.reasons, words: (name) => reasons[name] ?? name, empty: "Every part was inspected." }),
    element("p", { class: "muted" }, `Classes are labels, or what the model proposes where nobody labelled.${read}`));
}

function labelled({ false_rejects: falseRejects, escapes, note }) {
  const row = (name, rate, none) => [
    element("dt", {}, name),
    element("dd", {}, rate.parts
      ? [element("b", {}, percent(rate.share)), ` · ${rate.events} of ${rate.parts}, 95 % interval ${percent(rate.lower)} to ${percent(rate.upper)}`]
      : element("span", { class: "muted" }, none)),
  ];
  return element("div", { class: "labelled" }, element("h3", {}, "What labels show"),
    element("dl", {},
      row("Rejects labelled good (false rejects)", falseRejects, "No reject of this time is labelled. Label rejects to know how many were good."),
      row("Passed parts labelled defective (escapes)", escapes, "No passed part of this time is labelled.")),
    element("p", { class: "muted" }, note));
}

function drifts({ drifts: found }, sampled) {
  return found.slice(0, 3).map(({ model, drift }) => {
    const look = drift.moved ? "moved" : "steady";
    const statement = element("p", { class: `statement ${look}` }, drift.statement);
    const title = `Scores of passed parts, model ${model.slice(0, 12)} (EWMA chart)`;
    if (drift.groups.length === 0) return panel(element("h3", {}, title), statement);
    const marks = drift.groups.flatMap((group, index) => (group.outside ? [{ index, words: group.outside > 0 ? "above the limit" : "below the limit" }] : []));
    return panel(statement, chart({
      title, hint: `Means of ${count(Math.floor(drift.parts / drift.groups.length))} parts in a row, of ${sampled}. The first ${drift.reference_groups} say what is usual.`,
      x: { values: drift.groups.map((group) => new Date(group.at)), time: true },
      y: { says: (score) => score.toPrecision(3) },
      layers: [
        { kind: "band", name: "limits", look: "limits", lower: drift.groups.map((group) => group.lower), upper: drift.groups.map((group) => group.upper) },
        { kind: "line", name: "usual", look: "centre", dash: true, values: drift.groups.map(() => drift.reference) },
        { kind: "line", name: "EWMA", look: "data", values: drift.groups.map((group) => group.ewma) },
        { kind: "points", name: "mean", look: "faint", values: drift.groups.map((group) => group.mean) },
      ],
      marks: marks.slice(-1),
    }));
  });
}

const OPTICS = {
  brightness: "Brightness", contrast: "Contrast", sharpness: "Sharpness", coarse_sharpness: "Sharpness of what is large",
  saturated: "Share of saturated pixels", light_left: "Share of the light on the left", light_top: "Share of the light at the top",
};

function optics({ optics: found }, sampled) {
  if (!found || found.figures.every((each) => each.groups.length === 0)) return null;
  const said = found.figures.filter((each) => each.statement);
  return element("section", { class: "panel optics", "aria-label": "Optics" },
    element("h2", {}, "Light and lens"),
    said.length ? said.map((each) => element("p", { class: "statement moved" }, each.statement)) : element("p", { class: "statement steady" }, "No figure is on its way to a limit."),
    element("div", { class: "small-charts" }, found.figures.map((each) => opticsChart(each))),
    element("p", { class: "muted" }, `Of ${sampled}, as far as model ${found.model.slice(0, 12)} judged them. Bands hold nine frames in ten; beyond the limits frames are refused.`));
}

function opticsChart({ figure, groups, lower, upper }) {
  const limit = (name, value) => (value === null ? [] : [{ kind: "line", name, look: "fail", dash: true, values: groups.map(() => value) }]);
  return chart({
    title: OPTICS[figure] ?? figure, height: 150, x: { values: groups.map((group) => new Date(group.at)), time: true },
    y: { min: 0, says: (value) => value.toPrecision(3) },
    layers: [
      { kind: "band", name: "nine in ten", look: "limits", lower: groups.map((group) => group.low), upper: groups.map((group) => group.high) },
      { kind: "points", name: "median", look: "data", join: true, values: groups.map((group) => group.median) },
      ...limit("lower limit", lower), ...limit("upper limit", upper),
    ],
  });
}

function scores({ scores: found }, sampled) {
  if (!found) return null;
  return panel(histogram({
    title: `Scores, model ${found.model.slice(0, 12)}`, hint: `Of ${sampled}. Higher scores than ${found.high.toPrecision(3)} are in the last bar.`,
    low: found.low, high: found.high, height: 220,
    kinds: [{ name: "passed", counts: found.passed, look: "pass" }, { name: "stopped", counts: found.stopped, look: "fail" }],
    rules: [{ at: found.review_threshold, name: "review" }, { at: found.fail_threshold, name: "fail" }],
    says: (score) => score.toPrecision(3),
  }));
}

function latency({ latencies: found }, sampled) {
  if (found.length === 0) return null;
  return panel(chart({
    title: "Trigger to decision", hint: `Milliseconds, of ${sampled}.`, x: { values: found.map((each) => new Date(each.at)), time: true }, y: { min: 0, says: (ms) => `${ms.toFixed(ms < 10 ? 1 : 0)} ms` }, height: 220,
    layers: [
      { kind: "points", name: "p99", look: "fail", join: true, values: found.map((each) => each.p99_ms) },
      { kind: "points", name: "p50", look: "data", join: true, values: found.map((each) => each.p50_ms) },
    ],
  }));
}
