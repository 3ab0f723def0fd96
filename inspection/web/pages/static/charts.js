// Small charts as inline SVG: axes, lines, bands, points and bars over one row of x values. Colours are the style sheet's, so they
// follow light and dark. Values are told on hover and by the arrow keys; a table below says the same to those who see no picture.

import { element } from "./api.js";

const MARGIN = { top: 12, right: 14, bottom: 26, left: 54 };
const POINT = 3.5;
const MOST_TICKS = 7;

// A figure that draws itself anew when its width changes.
//   title    what the picture shows, as its heading
//   x        { values, time: true } for dates, or { values, name } for names; `says` is how one value is told
//   y        { says, min, max }; without min and max as far as the layers reach
//   layers   [{ kind: "line" | "points" | "bars" | "band", name, values, lower, upper, look, dash, join }]; null leaves a gap.
//            Points may be joined by a line; bars of several layers stand on each other. `look` is a class that colours it.
//   marks    [{ index, words, href }]: points that are told apart, and where they lead
//   rules    [{ at, name, across }]: lines at a value of y, or of x with `across: true`
export function chart({ title, hint, x, y, layers, marks = [], rules = [], height = 220 }) {
  const host = element("div", { class: "plot" });
  const told = element("p", { class: "told muted", "aria-live": "polite" }, hint ?? "");
  const caption = element("figcaption", {}, element("h3", {}, title));
  const figure = element("figure", { class: "chart" }, caption, host, told, table(x, y, layers, marks));
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now === width || now < 50) return;
    width = now;
    host.replaceChildren(draw({ title, x, y, layers, marks, rules, height, width }, told, hint ?? ""));
  }).observe(host);
  return figure;
}

// How often values fall where: bars of equal width with the counts of each kind, over a scale of values.
export function histogram({ title, hint, low, high, kinds, rules = [], says = String, height }) {
  const step = (high - low) / kinds[0].counts.length;
  const values = kinds[0].counts.map((_, index) => low + (index + 0.5) * step);
  return chart({
    title, hint, height,
    x: { values, linear: true, name: "Score", low, high, says: (value) => `${says(value - step / 2)} to ${says(value + step / 2)}`, tick: says },
    y: { min: 0, says: (count) => String(Math.round(count)) },
    layers: kinds.map(({ name, counts, look }) => ({ kind: "bars", name, values: counts, look })),
    rules: rules.map((rule) => ({ ...rule, across: true })),
  });
}

// Causes, most first: a table whose cells carry the bars, so there is nothing else to read.
export function paretoTable({ title, bars, head = "Cause", words = (name) => name, href = () => null, empty }) {
  const heading = element("h3", {}, title);
  if (bars.length === 0) return element("section", { class: "pareto" }, heading, element("p", { class: "muted" }, empty));
  const greatest = bars[0].count;
  const rows = bars.map((bar) => {
    const address = href(bar.name);
    const name = words(bar.name);
    return element("tr", {},
      element("th", { scope: "row" }, address ? element("a", { href: address }, name) : name),
      element("td", { class: "length" }, element("i", { class: `length ${bar.look ?? ""}`, style: `width:${Math.max(1, (100 * bar.count) / greatest)}%` })),
      element("td", { class: "n" }, count(bar.count)),
      element("td", { class: "n" }, percent(bar.share)),
      element("td", { class: "n muted" }, percent(bar.cumulative)));
  });
  const names = [[head, ""], ["", "length"], ["Parts", "n"], ["Share", "n"], ["Sum", "n"]];
  return element("section", { class: "pareto" }, heading, element("table", {},
    element("thead", {}, element("tr", {}, names.map(([name, look]) => element("th", { class: look, scope: "col" }, name)))),
    element("tbody", {}, rows)));
}

export const percent = (share, digits = 1) => (share === null ? "–" : `${(100 * share).toFixed(digits)} %`);
export const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u2009");

const two = (value) => String(value).padStart(2, "0");
export const clock = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;
export const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
export const moment = (date) => `${day(date)} ${clock(date)}`;

// --- drawing ---------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function draw({ title, x, y, layers, marks, rules, height, width }, told, hint) {
  const scales = scaled(x, y, layers, rules, width, height);
  const svg = shape("svg", { width, height, role: "img", tabindex: 0, "aria-label": `${title}. Arrow keys tell the values; they are in the table too.` });
  svg.append(axes(scales, x, y, width, height));
  let stacked = x.values.map(() => 0);
  for (const layer of layers) {
    if (layer.kind === "bars") stacked = bars(svg, layer, stacked, scales, x.values.length);
    else if (layer.kind === "band") svg.append(band(layer, scales));
    else if (layer.kind === "points") svg.append(...points(layer, scales));
    if (layer.kind === "line" || layer.join) svg.append(shape("path", { class: `line ${layer.look ?? ""}`, "stroke-dasharray": layer.dash ? "5 4" : null, d: path(layer.values, scales) }));
  }
  for (const rule of rules) {
    const [from, to] = rule.across
      ? [[scales.value(rule.at), MARGIN.top], [scales.value(rule.at), height - MARGIN.bottom]]
      : [[MARGIN.left, scales.y(rule.at)], [width - MARGIN.right, scales.y(rule.at)]];
    svg.append(shape("line", { class: "rule", x1: from[0], y1: from[1], x2: to[0], y2: to[1] }));
    svg.append(shape("text", { class: "rule-name", x: rule.across ? from[0] + 4 : to[0], y: rule.across ? from[1] + 9 : from[1] - 4, "text-anchor": rule.across ? "start" : "end" }, rule.name));
  }
  const level = layers.find((layer) => layer.kind === "points") ?? layers.find((layer) => layer.values);
  for (const mark of marks) {
    const [at, reached] = [scales.x(mark.index), scales.y(level.values[mark.index])];
    svg.append(shape("path", { class: "mark", d: `M${at} ${reached - 8}L${at + 8} ${reached}L${at} ${reached + 8}L${at - 8} ${reached}Z` }));
  }
  tell(svg, { x, y, layers, marks, scales, height }, told, hint);
  return svg;
}

function scaled(x, y, layers, rules, width, height) {
  const heights = layers.flatMap((layer) => (layer.kind === "band" ? [...layer.lower, ...layer.upper] : layer.kind === "bars" ? [] : layer.values));
  const piled = layers.filter((layer) => layer.kind === "bars");
  const stacks = piled.length ? x.values.map((_, index) => piled.reduce((sum, layer) => sum + layer.values[index], 0)) : [];
  const known = [...heights, ...stacks, ...rules.filter((rule) => !rule.across).map((rule) => rule.at)].filter((value) => value !== null && value !== undefined);
  let low = y.min ?? Math.min(...known);
  let high = y.max ?? Math.max(...known);
  if (!(high > low)) [low, high] = [y.min ?? low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  if (y.max === undefined) high += (high - low) * 0.08;
  if (y.min === undefined) low -= (high - low) * 0.08;
  const inner = width - MARGIN.left - MARGIN.right;
  const tall = height - MARGIN.top - MARGIN.bottom;
  const values = x.values;
  const [begin, end] = x.linear ? [x.low, x.high] : x.time ? [+values[0], +values.at(-1)] : [0, values.length - 1];
  const value = (at) => MARGIN.left + (end > begin ? ((at - begin) / (end - begin)) * inner : inner / 2);
  // Names stand in the middle of places of their own, or bars at the ends would be cut.
  const place = (index) => MARGIN.left + ((index + 0.5) / values.length) * inner;
  return {
    x: (index) => (x.time || x.linear ? value(+values[index]) : place(index)),
    y: (at) => MARGIN.top + ((high - at) / (high - low)) * tall,
    value, begin, end, low, high, step: inner / values.length,
  };
}

function axes(scales, x, y, width, height) {
  const group = shape("g", { class: "axes", "aria-hidden": "true" });
  for (const value of ticks(scales.low, scales.high, 5)) {
    group.append(shape("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: scales.y(value), y2: scales.y(value) }));
    group.append(shape("text", { x: MARGIN.left - 8, y: scales.y(value) + 4, "text-anchor": "end" }, y.says(value)));
  }
  const last = x.values.length - 1;
  const anchor = (at) => (at > width - 60 ? "end" : at < MARGIN.left + 30 ? "start" : "middle");
  const write = (at, text) => group.append(shape("text", { x: at, y: height - 7, "text-anchor": anchor(at) }, text));
  if (x.linear) {
    for (const value of ticks(scales.begin, scales.end, MOST_TICKS)) write(scales.value(value), x.tick(value));
    return group;
  }
  const far = x.time && +x.values[last] - +x.values[0] > 36 * 3600e3;
  const longest = x.time ? 11 : Math.max(...x.values.map((value) => String(value).length));
  const every = Math.max(1, Math.ceil((last + 1) / Math.max(1, Math.min(2 * MOST_TICKS, Math.floor((width - MARGIN.left) / (8 * longest + 14))))));
  let reached = -Infinity;
  for (let index = 0; index <= last; index += x.time ? 1 : every) {
    const at = scales.x(index);
    if (x.time && at - reached < (far ? 112 : 84)) continue;
    reached = at;
    const value = x.values[index];
    write(at, x.time ? (far ? `${two(value.getMonth() + 1)}-${two(value.getDate())} ${clock(value)}` : clock(value)) : String(value));
  }
  return group;
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return found;
}

function path(values, scales) {
  let drawn = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    drawn += `${pen ? "L" : "M"}${scales.x(index)} ${scales.y(value)}`;
    pen = true;
  });
  return drawn;
}

function band(layer, scales) {
  const there = layer.lower.map((low, index) => [index, low, layer.upper[index]]).filter(([, low, high]) => low !== null && high !== null);
  const edge = (number) => there.map((each) => `${scales.x(each[0])} ${scales.y(each[number])}`);
  return shape("path", { class: `band ${layer.look ?? ""}`, d: there.length ? `M${[...edge(2), ...edge(1).reverse()].join("L")}Z` : "" });
}

function points(layer, scales) {
  return layer.values.flatMap((value, index) => (value === null ? [] : [shape("circle", { class: `point ${layer.look ?? ""}`, cx: scales.x(index), cy: scales.y(value), r: POINT })]));
}

function bars(svg, layer, stacked, scales, length) {
  const wide = Math.max(1, scales.step * (length > 40 ? 0.9 : 0.7));
  return layer.values.map((value, index) => {
    const [from, to] = [stacked[index], stacked[index] + value];
    if (value) svg.append(shape("rect", { class: `pile ${layer.look ?? ""}`, x: scales.x(index) - wide / 2, y: scales.y(to), width: wide, height: Math.max(0.5, scales.y(from) - scales.y(to)) }));
    return to;
  });
}

// The values at one x: on hover, by the arrow keys; a click or Enter follows where the mark leads.
function tell(svg, { x, y, layers, marks, scales, height }, told, hint) {
  const cursor = shape("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
  svg.append(cursor);
  let chosen = -1;
  const show = (index) => {
    chosen = index;
    if (index < 0) {
      cursor.setAttribute("visibility", "hidden");
      told.textContent = hint;
      return;
    }
    cursor.setAttribute("x1", scales.x(index));
    cursor.setAttribute("x2", scales.x(index));
    cursor.setAttribute("visibility", "visible");
    told.textContent = [says(x, index), ...layers.map((layer) => value(layer, index, y)), ...marks.filter((mark) => mark.index === index).map((mark) => mark.words)].filter(Boolean).join(" · ");
  };
  const href = () => x.href?.(chosen) ?? marks.find((mark) => mark.index === chosen)?.href;
  svg.addEventListener("pointermove", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    let nearest = 0;
    for (let index = 1; index < x.values.length; index += 1) if (Math.abs(scales.x(index) - at) < Math.abs(scales.x(nearest) - at)) nearest = index;
    show(nearest);
    svg.style.cursor = href() ? "pointer" : "default";
  });
  svg.addEventListener("pointerleave", () => show(-1));
  svg.addEventListener("blur", () => show(-1));
  svg.addEventListener("click", () => href() && location.assign(href()));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      show(Math.min(x.values.length - 1, Math.max(0, chosen + step)));
    } else if (event.key === "Enter" && href()) location.assign(href());
  });
}

const says = (x, index) => (x.says ? x.says(x.values[index]) : x.time ? moment(x.values[index]) : String(x.values[index]));

function value(layer, index, y) {
  if (layer.kind === "band") return layer.lower[index] === null ? null : `${layer.name} ${y.says(layer.lower[index])} to ${y.says(layer.upper[index])}`;
  const found = layer.values[index];
  return found === null || found === undefined ? null : `${layer.name} ${(layer.says ?? y.says)(found)}`;
}

function table(x, y, layers, marks) {
  const make = () => {
    const rows = x.values.map((_, index) => {
      const mark = marks.find((each) => each.index === index);
      const address = x.href?.(index) ?? mark?.href;
      const name = says(x, index);
      return element("tr", {},
        element("th", { scope: "row" }, address ? element("a", { href: address }, name) : name),
        layers.map((layer) => element("td", { class: "n" }, (value(layer, index, y) ?? "–").replace(`${layer.name} `, ""))),
        element("td", {}, mark?.words ?? ""));
    });
    const names = [x.name ?? "Time", ...layers.map((layer) => layer.name), "Marked"];
    return element("div", { class: "panel table" }, element("table", {},
      element("thead", {}, element("tr", {}, names.map((name, number) => element("th", { scope: "col", class: number && number < names.length - 1 ? "n" : "" }, name)))),
      element("tbody", {}, rows)));
  };
  const details = element("details", {}, element("summary", {}, "Values as a table"));
  // Made when it is asked for: a page of charts would carry thousands of cells that nobody opens.
  details.addEventListener("toggle", () => details.children.length === 1 && details.append(make()));
  return details;
}
