// Regions that a person draws over a viewer: boxes, polygons and brush strokes; what the eraser leaves of them; suggestions.
//
// `regions` holds what labels hold: {x, y, width, height, polygon}, polygon null or [[x, y], …], all in whole pixels of the frame.
// Event `changed` after every change.
import { boxAround, emptyMask, fill, stroke, trace } from "./review_trace.js";
import { shape } from "./viewer.js";

const CLOSE_PX = 9;
const MOST = 100;

export class RegionEditor extends EventTarget {
  constructor(viewer) {
    super();
    this.viewer = viewer;
    this.regions = [];
    this.kind = null;
    this.diameter = 24;
    this.colour = "#ffffff";
    this.draft = null;
  }

  // Shows these regions, without telling anybody.
  load(regions) {
    this.regions = regions.map((each) => ({ ...each, polygon: each.polygon ?? null }));
    this.draft = null;
    this.draw();
  }

  set(regions) {
    this.regions = regions.slice(0, MOST);
    this.draft = null;
    this.draw();
    this.dispatchEvent(new Event("changed"));
  }

  // "box", "polygon", "brush", "erase", or null to pan again.
  choose(kind) {
    this.kind = kind;
    this.draft = null;
    const tools = { box: new BoxTool(this), polygon: new PolygonTool(this), brush: new BrushTool(this, 1), erase: new BrushTool(this, 0) };
    this.viewer.tool = kind ? tools[kind] : null;
    this.viewer.classList.toggle("drawing", Boolean(kind));
    this.draw();
  }

  // Enter, Escape and Backspace belong to a polygon that is begun. True if it took the key.
  key(key) {
    return this.viewer.tool?.key?.(key) ?? false;
  }

  inside({ x, y }) {
    const { width, height } = this.viewer.size;
    return { x: Math.min(Math.max(x, 0), width - 0.01), y: Math.min(Math.max(y, 0), height - 0.01) };
  }

  pixel(point) {
    const { x, y } = this.inside(point);
    return [Math.floor(x), Math.floor(y)];
  }

  draw() {
    const layer = this.viewer.drawn;
    if (!layer) return;
    layer.style.setProperty("--class-colour", this.colour);
    layer.replaceChildren(...this.regions.flatMap((region) => drawn(region)), ...(this.draft ?? []));
  }

  preview(...shapes) {
    this.draft = shapes;
    this.draw();
  }
}

// What a region covers, tinted to the pixel, and a line around it that is as thin at every zoom.
function drawn({ x, y, width, height, polygon }) {
  if (!polygon) return [shape("rect", { class: "area", x, y, width, height }), shape("rect", { class: "line", x, y, width, height })];
  const points = polygon.map(([px, py]) => `${px + 0.5},${py + 0.5}`).join(" ");
  return [shape("polygon", { class: "area whole", points }), shape("polygon", { class: "line", points })];
}

class BoxTool {
  constructor(editor) {
    this.editor = editor;
  }

  down(point) {
    this.from = point;
  }

  box(point) {
    const [x0, y0] = this.editor.pixel(this.from);
    const [x1, y1] = this.editor.pixel(point);
    return { x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0) + 1, height: Math.abs(y1 - y0) + 1, polygon: null };
  }

  move(point, _event, dragging) {
    if (dragging) this.editor.preview(...drawn(this.box(point)));
  }

  up(point) {
    const box = this.box(point);
    // A click that did not move is none.
    if (box.width > 1 && box.height > 1) this.editor.set([...this.editor.regions, box]);
    else this.editor.preview();
  }
}

class PolygonTool {
  constructor(editor) {
    this.editor = editor;
    this.points = [];
  }

  down(point) {
    const scale = this.editor.viewer.view.scale;
    const [first] = this.points;
    const near = first && Math.hypot(point.x - first[0] - 0.5, point.y - first[1] - 0.5) * scale < CLOSE_PX;
    if (this.points.length >= 3 && near) {
      this.close();
      return;
    }
    const [x, y] = this.editor.pixel(point);
    const last = this.points.at(-1);
    if (!last || last[0] !== x || last[1] !== y) this.points.push([x, y]);
    this.show(point);
  }

  double() {
    if (this.points.length >= 3) this.close();
  }

  move(point) {
    if (this.points.length) this.show(point);
  }

  up() {}

  show(point) {
    if (!this.points.length) return;
    const points = [...this.points, this.editor.pixel(point)].map(([x, y]) => `${x + 0.5},${y + 0.5}`).join(" ");
    const [[x, y]] = this.points;
    const radius = 5 / this.editor.viewer.view.scale;
    this.editor.preview(
      shape("polyline", { class: "line", points }),
      shape("circle", { class: "start", cx: x + 0.5, cy: y + 0.5, r: radius }),
    );
  }

  close() {
    const polygon = this.points;
    this.points = [];
    this.editor.set([...this.editor.regions, boxAround(polygon)]);
  }

  key(key) {
    if (!this.points.length) return false;
    if (key === "Enter" && this.points.length >= 3) this.close();
    else if (key === "Escape") this.points = [];
    else if (key === "Backspace") this.points.pop();
    else return false;
    this.editor.preview();
    return true;
  }
}

// Paints a new region, or takes pixels away from those that there are.
class BrushTool {
  constructor(editor, value) {
    this.editor = editor;
    this.value = value;
  }

  get radius() {
    return this.editor.diameter / 2;
  }

  down(point) {
    this.way = [point];
    this.show(point);
  }

  move(point, _event, dragging) {
    if (dragging) this.way.push(point);
    this.show(point, dragging);
  }

  show(point, dragging = true) {
    const ring = shape("circle", { class: "ring", cx: point.x, cy: point.y, r: this.radius });
    const points = dragging ? this.way.map(({ x, y }) => `${x},${y}`).join(" ") : "";
    const kind = this.value ? "stroke" : "stroke erasing";
    this.editor.preview(...(points ? [shape("polyline", { class: kind, points, "stroke-width": this.editor.diameter })] : []), ring);
  }

  up(point) {
    this.way.push(point);
    if (this.value) this.paint();
    else this.erase();
  }

  paint() {
    const { width, height } = this.editor.viewer.size;
    const reach = Math.ceil(this.radius) + 1;
    const [across, down] = [this.way.map(({ x }) => x), this.way.map(({ y }) => y)];
    const left = Math.max(Math.floor(Math.min(...across)) - reach, 0);
    const top = Math.max(Math.floor(Math.min(...down)) - reach, 0);
    const right = Math.min(Math.ceil(Math.max(...across)) + reach, width);
    const bottom = Math.min(Math.ceil(Math.max(...down)) + reach, height);
    if (right <= left || bottom <= top) {
      this.editor.preview();
      return;
    }
    const mask = emptyMask(left, top, right - left, bottom - top);
    this.along((from, to) => stroke(mask, from, to, this.radius));
    this.editor.set([...this.editor.regions, ...trace(mask)]);
  }

  erase() {
    const kept = this.editor.regions.flatMap((region) => {
      const mask = fill(region);
      const before = mask.data.reduce((sum, set) => sum + set, 0);
      this.along((from, to) => stroke(mask, from, to, this.radius, 0));
      return mask.data.reduce((sum, set) => sum + set, 0) === before ? [region] : trace(mask);
    });
    this.editor.set(kept);
  }

  along(step) {
    this.way.forEach((to, index) => step(this.way[Math.max(index - 1, 0)], to));
  }
}
