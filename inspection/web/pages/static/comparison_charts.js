// Charts as inline SVG: histograms of scores with thresholds to move, and the ROC. Each has a title, a description and a table beside it.

import { element } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";
const BINS = 44;
let numbered = 0;

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

// A score with three digits that tell something.
export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(digits);
}

export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);

// Where scores lie on an axis from 0 to 1: logarithmic where they span more than a decade and a half, so that good parts are seen too.
export class Scale {
  constructor(scores, limits) {
    const known = [...scores, ...limits].filter((value) => value > 0).sort((a, b) => a - b);
    // One odd score must not press all others together.
    const low = Math.min(known[Math.floor(known.length * 0.002)] ?? 0.1, ...limits);
    const high = Math.max(known[Math.ceil(known.length * 0.998) - 1] ?? 1, ...limits);
    this.logarithmic = high / low > 30;
    this.low = this.logarithmic ? low / 1.25 : Math.max(0, low - (high - low) * 0.08);
    this.high = this.logarithmic ? high * 1.25 : high + (high - low) * 0.08;
    if (this.high <= this.low) this.high = this.low + 1;
  }

  at(score) {
    if (this.logarithmic) {
      return Math.min(1, Math.max(0, Math.log(Math.max(score, 1e-12) / this.low) / Math.log(this.high / this.low)));
    }
    return Math.min(1, Math.max(0, (score - this.low) / (this.high - this.low)));
  }

  score(position) {
    return this.logarithmic ? this.low * (this.high / this.low) ** position : this.low + position * (this.high - this.low);
  }

  ticks() {
    if (this.logarithmic) {
      const found = [];
      for (let power = Math.floor(Math.log10(this.low)); power <= Math.ceil(Math.log10(this.high)); power += 1) {
        for (const factor of this.high / this.low > 300 ? [1] : [1, 2, 5]) {
          const value = factor * 10 ** power;
          if (value >= this.low && value <= this.high) found.push(value);
        }
      }
      return found;
    }
    const rough = (this.high - this.low) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
    const found = [];
    for (let value = Math.ceil(this.low / step) * step; value <= this.high; value += step) found.push(value);
    return found;
  }
}

// Scores of good parts above the line, of defective ones below it, each side by its own scale. `limits` is {review, fail}; with
// `onMove(limits)` the thresholds can be moved, by pointer and by keyboard.
export class Histogram {
  constructor({ name, groups, limits, onMove }) {
    this.name = name;
    this.groups = groups;
    this.onMove = onMove;
    this.own = { ...limits };
    this.limits = { ...limits };
    this.scale = new Scale(groups.flatMap((group) => group.scores), [limits.review, limits.fail]);
    this.width = 560;
    this.height = 236;
    this.left = 8;
    this.top = 30;
    this.bottom = 26;
    this.element = element("div", { class: "chart" }, this.draw(), this.table());
  }

  x(score) {
    return this.left + this.scale.at(score) * (this.width - 2 * this.left);
  }

  counts(scores) {
    const bins = new Array(BINS).fill(0);
    for (const score of scores) bins[Math.min(BINS - 1, Math.floor(this.scale.at(score) * BINS))] += 1;
    return bins;
  }

  draw() {
    const number = (numbered += 1);
    const [good, defective, passes] = ["good", "defective", "unlabelled"].map((kind) => this.counts(this.groups.find((group) => group.kind === kind)?.scores ?? []));
    const plot = this.height - this.top - this.bottom;
    const middle = this.top + plot * 0.58;
    const above = Math.max(1, ...good.map((count, bin) => count + passes[bin]));
    const below = Math.max(1, ...defective);
    const up = middle - this.top - 4;
    const down = this.height - this.bottom - middle - 4;
    const step = (this.width - 2 * this.left) / BINS;
    const bars = [];
    for (let bin = 0; bin < BINS; bin += 1) {
      const x = this.left + bin * step + 0.5;
      const goodHeight = (good[bin] / above) * up;
      const passHeight = (passes[bin] / above) * up;
      if (good[bin]) bars.push(shape("rect", { class: "bar-good", x, y: middle - goodHeight, width: step - 1, height: goodHeight }));
      if (passes[bin]) bars.push(shape("rect", { class: "bar-unlabelled", x, y: middle - goodHeight - passHeight, width: step - 1, height: passHeight }));
      const badHeight = (defective[bin] / below) * down;
      if (defective[bin]) bars.push(shape("rect", { class: "bar-defective", x, y: middle, width: step - 1, height: badHeight }));
    }
    const ticks = this.scale.ticks().map((value) =>
      shape("g", {}, shape("line", { class: "tick", x1: this.x(value), x2: this.x(value), y1: this.height - this.bottom, y2: this.height - this.bottom + 4 }),
        shape("text", { class: "tick-label", x: this.x(value), y: this.height - 8, "text-anchor": "middle" }, figure(value))));
    this.zones = ["pass", "review", "fail"].map((zone) => shape("rect", { class: `zone-${zone}`, y: this.top, height: plot }));
    this.handles = { review: this.handle("review"), fail: this.handle("fail") };
    const description = this.groups.map((group) => `${group.scores.length} ${group.name}`).join(", ");
    const svg = shape("svg", { class: "histogram", viewBox: `0 0 ${this.width} ${this.height}`, role: "group", "aria-labelledby": `chart-${number}-title chart-${number}-text` },
      shape("title", { id: `chart-${number}-title` }, `Scores by ${this.name}`),
      shape("desc", { id: `chart-${number}-text` }, `${description}. Good parts are drawn above the line, defective ones below it, each side by its own scale.${this.scale.logarithmic ? " The axis is logarithmic." : ""}`),
      ...this.zones, ...bars,
      shape("line", { class: "axis", x1: this.left, x2: this.width - this.left, y1: middle, y2: middle }),
      ...ticks, this.handles.review, this.handles.fail);
    this.svg = svg;
    this.place();
    return svg;
  }

  handle(which) {
    const moved = this.onMove !== undefined;
    const label = which === "review" ? "Review threshold" : "Fail threshold";
    const attributes = { class: `threshold ${which}${moved ? " moved" : ""}` };
    if (moved) Object.assign(attributes, { role: "slider", tabindex: "0", "aria-label": `${label} of ${this.name}`, "aria-orientation": "horizontal", "data-threshold": which });
    const group = shape("g", attributes,
      shape("rect", { class: "grip", x: -9, y: this.top - 4, width: 18, height: this.height - this.top - this.bottom + 8 }),
      shape("line", { x1: 0, x2: 0, y1: this.top - 4, y2: this.height - this.bottom }),
      shape("text", { y: this.top - 10 }));
    if (moved) {
      group.append(shape("circle", { class: "knob", cx: 0, cy: this.height - this.bottom, r: 6 }));
      group.addEventListener("keydown", (event) => this.onKey(event, which));
      group.addEventListener("pointerdown", (event) => this.onPointer(event, which, group));
    }
    return group;
  }

  onKey(event, which) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    let position;
    if (steps) position = this.scale.at(this.limits[which]) + steps * (event.shiftKey ? 0.001 : 0.01);
    else if (event.key === "Home") position = which === "review" ? 0 : this.scale.at(this.limits.review) + 0.002;
    else if (event.key === "End") position = which === "fail" ? 1 : this.scale.at(this.limits.fail) - 0.002;
    else return;
    event.preventDefault();
    this.move(which, this.nearby(position));
  }

  // The score at a position, with no more digits than a person would write down.
  nearby(position) {
    return Number(this.scale.score(Math.min(1, Math.max(0, position))).toPrecision(4));
  }

  onPointer(event, which, group) {
    event.preventDefault();
    group.focus();
    group.setPointerCapture(event.pointerId);
    const follow = (moved) => {
      const box = this.svg.getBoundingClientRect();
      const x = ((moved.clientX - box.left) / box.width) * this.width;
      this.move(which, this.nearby((x - this.left) / (this.width - 2 * this.left)));
    };
    group.addEventListener("pointermove", follow);
    const end = () => group.removeEventListener("pointermove", follow);
    group.addEventListener("pointerup", end, { once: true });
    group.addEventListener("pointercancel", end, { once: true });
  }

  // Review stays below fail, and both above zero: others make no model.
  move(which, score) {
    const limits = { ...this.limits, [which]: score };
    if (!(limits.review > 0) || !(limits.review < limits.fail)) return;
    this.show(limits);
    this.onMove(limits);
  }

  show(limits) {
    this.limits = { ...limits };
    this.place();
  }

  place() {
    const [review, fail] = [this.x(this.limits.review), this.x(this.limits.fail)];
    const edges = [this.left, review, fail, this.width - this.left];
    this.zones.forEach((zone, index) => {
      zone.setAttribute("x", edges[index]);
      zone.setAttribute("width", Math.max(0, edges[index + 1] - edges[index]));
    });
    const near = fail - review < 120;
    for (const [which, x] of [["review", review], ["fail", fail]]) {
      const group = this.handles[which];
      group.setAttribute("transform", `translate(${x} 0)`);
      const text = group.querySelector("text");
      text.textContent = `${which} ${figure(this.limits[which])}`;
      const before = which === "review" ? near || x > this.width - 90 : x > this.width - 90 && !near;
      text.setAttribute("text-anchor", which === "review" && near && x < 90 ? "start" : before ? "end" : "start");
      text.setAttribute("x", before && !(which === "review" && near && x < 90) ? -4 : 4);
      text.setAttribute("y", which === "fail" && near && (x > this.width - 90 || review < 90) ? this.top + 10 : this.top - 10);
      if (this.onMove) {
        group.setAttribute("aria-valuemin", figure(this.scale.low));
        group.setAttribute("aria-valuemax", figure(this.scale.high));
        group.setAttribute("aria-valuenow", String(this.limits[which]));
        group.setAttribute("aria-valuetext", figure(this.limits[which]));
      }
    }
  }

  table() {
    const counted = this.groups.map((group) => this.counts(group.scores));
    const rows = [];
    for (let bin = 0; bin < BINS; bin += 1) {
      if (counted.some((counts) => counts[bin])) {
        const range = `${figure(this.scale.score(bin / BINS))} to ${figure(this.scale.score((bin + 1) / BINS))}`;
        rows.push(element("tr", {}, element("td", {}, range), counted.map((counts) => element("td", { class: "n" }, String(counts[bin])))));
      }
    }
    const head = element("tr", {}, element("th", {}, "Score"), this.groups.map((group) => element("th", { class: "n" }, group.name)));
    return element("details", { class: "as-table" }, element("summary", {}, "As a table"),
      element("div", { class: "scrolled" }, element("table", {}, element("caption", {}, `Scores by ${this.name}`), element("thead", {}, head), element("tbody", {}, rows))));
  }
}

// `curves`: [{name, kind, points: [{false_rejects, caught}], at: {x, y}, area}], the first one drawn solid, the second dashed.
export function rocChart(curves) {
  const number = (numbered += 1);
  const [size, left, bottom, top] = [250, 44, 40, 10];
  const x = (share) => left + share * size;
  const y = (share) => top + (1 - share) * size;
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    shape("line", { class: "grid", x1: x(share), x2: x(share), y1: y(0), y2: y(1) }),
    shape("line", { class: "grid", x1: x(0), x2: x(1), y1: y(share), y2: y(share) }),
    shape("text", { class: "tick-label", x: x(share), y: y(0) + 16, "text-anchor": "middle" }, `${100 * share}`),
    shape("text", { class: "tick-label", x: x(0) - 7, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}`),
  ]);
  const drawn = curves.filter((curve) => curve.points.length).flatMap((curve) => {
    const line = ["M", x(0), y(0), ...curve.points.flatMap((point) => ["L", x(point.false_rejects), y(point.caught)]), "L", x(1), y(1)].join(" ");
    const marks = curve.at ? [shape("circle", { class: `mark ${curve.kind}`, cx: x(curve.at.x), cy: y(curve.at.y), r: 5 })] : [];
    return [shape("path", { class: `roc ${curve.kind}`, d: line }), ...marks];
  });
  const told = curves.map((curve) => `${curve.name}: ${curve.area === null ? "no curve without parts of both kinds" : `area ${curve.area.toFixed(3)}`}`).join("; ");
  const svg = shape("svg", { class: "roc-chart", viewBox: `0 0 ${left + size + 14} ${top + size + bottom}`, role: "img", "aria-labelledby": `chart-${number}-title chart-${number}-text` },
    shape("title", { id: `chart-${number}-title` }, "ROC"), shape("desc", { id: `chart-${number}-text` }, `${told}. Dots are the review thresholds.`),
    ...grid, shape("line", { class: "chance", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }), ...drawn,
    shape("text", { class: "axis-label", x: x(0.5), y: top + size + 34, "text-anchor": "middle" }, "good parts stopped, %"),
    shape("text", { class: "axis-label", transform: `translate(11 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" }, "defective parts caught, %"));
  const caughtAt = (curve, share) => Math.max(0, ...curve.points.filter((point) => point.false_rejects <= share + 1e-12).map((point) => point.caught));
  const rows = [0, 0.01, 0.02, 0.05, 0.1].map((share) => element("tr", {}, element("td", {}, `at most ${100 * share} %`), curves.map((curve) => element("td", { class: "n" }, curve.points.length ? percent(caughtAt(curve, share)) : "–"))));
  const table = element("table", {}, element("caption", {}, "Defective parts caught where so many good parts are stopped"),
    element("thead", {}, element("tr", {}, element("th", {}, "Good parts stopped"), curves.map((curve) => element("th", { class: "n" }, curve.name)))), element("tbody", {}, rows));
  return element("div", { class: "chart" }, svg, element("details", { class: "as-table" }, element("summary", {}, "As a table"), table));
}
