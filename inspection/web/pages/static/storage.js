// <storage-picture>: the disk as a bar, what is on it now, and above it how that will change if all goes on as now.
import { api, element } from "./api.js";

const HOLDS = {
  reject_frames: ["Images of other parts", "--fail"], pass_frames: ["Images of passed parts", "--pass"], maps: ["Anomaly maps", "--review"],
  database: ["Records", "--link"], models: ["Models", "--muted"], model_maps: ["Maps of models", "--muted"], logs: ["Logs", "--muted"],
};
const WIDTH = 640, HEIGHT = 170;

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${bytes.toFixed(unit && bytes < 100 ? 1 : 0)} ${units[unit]}`;
}

const days = (count) => (count < 2 ? `${Math.round(24 * count)} hours` : count < 1000 ? `${Math.round(count)} days` : `${(count / 365).toFixed(1)} years`);
const svg = (name, attributes, ...inside) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
};

function bar(report) {
  const part = (nbytes, look, title) => element("i", { style: `flex-grow:${nbytes / report.disk_bytes};background:${look}`, title: `${title}: ${size(nbytes)}` });
  return element("div", { class: "storage-bar", role: "img", "aria-label": `${size(report.free_bytes)} of ${size(report.disk_bytes)} free` },
    part(report.other_bytes, "var(--line)", "Other files"),
    ...Object.entries(HOLDS).map(([holds, [word, look]]) => part(report.portions.find((each) => each.holds === holds).nbytes, `var(${look})`, word)),
    part(report.free_bytes, "transparent", "Free"));
}

// Areas on top of each other: records, images of other parts, images of passed parts; above them is what is free.
function course(report) {
  const { course: points, short, no_passes: noPasses, full } = report.forecast;
  const last = points.at(-1).day;
  const most = Math.max(...points.map((point) => point.database + point.rejects + point.passes + point.free));
  const x = (day) => (WIDTH * day) / last, y = (nbytes) => HEIGHT - (HEIGHT * nbytes) / most;
  const levels = [["database", "--link"], ["rejects", "--fail"], ["passes", "--pass"]];
  const areas = levels.map(([, look], top) => {
    const height = (point, upTo) => levels.slice(0, upTo).reduce((sum, [name]) => sum + point[name], 0);
    const upper = points.map((point) => `${x(point.day)},${y(height(point, top + 1))}`), lower = points.map((point) => `${x(point.day)},${y(height(point, top))}`).reverse();
    return svg("polygon", { points: [...upper, ...lower].join(" "), style: `fill:var(${look});opacity:.75` });
  });
  const marks = [[short, "passes go sooner"], [noPasses, "no pass images"], [full, "full"]].filter(([day]) => day !== null).map(([day, word]) =>
    svg("g", {}, svg("line", { x1: x(day), x2: x(day), y1: 0, y2: HEIGHT, style: "stroke:var(--ink);stroke-dasharray:4 3" }),
      svg("text", { x: x(day) + (x(day) > WIDTH / 2 ? -5 : 5), y: 14, "text-anchor": x(day) > WIDTH / 2 ? "end" : "start", style: "fill:var(--ink);font-size:12px" }, word)));
  const reserve = svg("line", { x1: 0, x2: WIDTH, y1: y(most - report.min_free_bytes), y2: y(most - report.min_free_bytes), style: "stroke:var(--muted);stroke-dasharray:2 4" });
  return element("figure", { class: "storage-course" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "What the station's files will take" }, ...areas, reserve, ...marks),
    element("figcaption", { class: "muted" }, element("span", {}, "now"), element("span", {}, `in ${days(last)}`)));
}

function sentence({ short, pass_days: passDays, no_passes: noPasses, full }) {
  const said = [];
  if (full !== null) said.push(`Full in ${days(full)}; then every part is rejected.`);
  if (noPasses !== null) said.push(`Room for images of passed parts ends in ${days(noPasses)}.`);
  if (short !== null) said.push(`In ${days(short)} images of passed parts begin to go before their time.`);
  if (passDays !== null) said.push(`Images of passed parts are kept for ${days(passDays)}.`);
  return said.join(" ") || "No end is in sight.";
}

customElements.define("storage-picture", class extends HTMLElement {
  async connectedCallback() {
    this.replaceChildren(element("p", { class: "muted" }, "Looking …"));
    try {
      this.show(await api("GET", "/storage"));
    } catch (error) {
      this.replaceChildren(element("p", { class: "problem" }, error.message));
    }
  }

  show(report) {
    const legend = Object.entries(HOLDS).map(([holds, [word, look]]) => [word, look, report.portions.find((each) => each.holds === holds)]).filter(([, , portion]) => portion.nbytes);
    this.replaceChildren(
      element("p", { class: "storage-says" }, sentence(report.forecast)),
      course(report), bar(report),
      element("ul", { class: "storage-legend" }, ...legend.map(([word, look, portion]) => element("li", {}, element("i", { style: `background:var(${look})` }), `${word} ${size(portion.nbytes)}`,
        portion.bytes_a_day ? element("span", { class: "muted" }, ` + ${size(portion.bytes_a_day)} a day`) : "")),
        element("li", { class: "muted" }, `${size(report.free_bytes)} of ${size(report.disk_bytes)} free`)));
  }
});
