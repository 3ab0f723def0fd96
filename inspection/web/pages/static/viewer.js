// <part-viewer frame="/api/…/image?render=png8" map="/api/…/map" width="1280" height="1024">: one frame with its anomaly map.
//
// Wheel or + and − zoom at the pointer, dragging pans, double click fits; beyond two screen pixels for one of the frame, pixels are
// shown as squares. `root.dataset.map` and `--map-opacity` (station.js) say whether and how strongly the map is laid over.
// Events: `view` when zoom or place changed (`link(viewers)` lets several follow one another).
import { element } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_SCALE = 64;
const PIXELS_FROM = 2;

// The image of an address, decoded, so that showing it takes no time; null if there is none.
export async function loadPicture(address, alt = "") {
  if (!address) return null;
  const picture = new Image();
  picture.alt = alt;
  picture.decoding = "sync";
  picture.draggable = false;
  picture.src = address;
  try {
    await picture.decode();
  } catch {
    return null;
  }
  return picture;
}

export function shape(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class PartViewer extends HTMLElement {
  static observedAttributes = ["frame", "map", "width", "height"];

  constructor() {
    super();
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = { width: 1, height: 1 };
    this.tool = null;
    this.linked = [];
    this.loading = 0;
  }

  connectedCallback() {
    if (this.stage) return;
    this.layers = element("div", { class: "layers" });
    this.machine = shape("svg", { class: "regions machine", "aria-hidden": "true" });
    this.drawn = shape("svg", { class: "drawn", "aria-hidden": "true" });
    this.stage = element("div", { class: "stage" }, this.layers, this.machine, this.drawn);
    this.missing = element("p", { class: "no-picture", hidden: true }, "No image is stored for this part");
    this.readout = element("output", { class: "readout", "aria-live": "off" });
    this.append(this.stage, this.missing, this.readout);
    if (!this.hasAttribute("tabindex")) this.tabIndex = 0;
    this.setAttribute("role", "group");
    if (!this.hasAttribute("aria-label")) this.setAttribute("aria-label", "Frame with anomaly map");
    this.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.addEventListener("pointerdown", (event) => this.onDown(event));
    this.addEventListener("pointermove", (event) => this.onMove(event));
    this.addEventListener("pointerup", (event) => this.onUp(event));
    this.addEventListener("pointercancel", (event) => this.onUp(event));
    this.addEventListener("dblclick", () => (this.tool ? this.tool.double?.() : this.fit()));
    this.resized = new ResizeObserver(() => this.fitted && this.fit());
    this.resized.observe(this);
    this.load();
  }

  disconnectedCallback() {
    this.resized?.disconnect();
    this.stage?.remove();
    this.missing?.remove();
    this.readout?.remove();
    this.stage = null;
  }

  attributeChangedCallback() {
    if (this.stage) this.load();
  }

  // Shows what the attributes name.
  async load() {
    if (!this.getAttribute("frame")) return;
    const turn = ++this.loading;
    const [frame, map] = await Promise.all([
      loadPicture(this.getAttribute("frame"), this.getAttribute("alt") ?? "Frame"),
      loadPicture(this.getAttribute("map"), "Anomaly map"),
    ]);
    if (turn !== this.loading || !this.stage) return;
    const width = Number(this.getAttribute("width")) || frame?.naturalWidth || 1;
    const height = Number(this.getAttribute("height")) || frame?.naturalHeight || 1;
    this.show({ frame, map, width, height });
  }

  // Shows pictures that are loaded already; `regions` are the machine's: {x, y, width, height} in frame pixels.
  show({ frame, map, width, height, regions = [] }) {
    this.loading++;
    this.size = { width, height };
    if (map) map.className = "map";
    this.layers.replaceChildren(...[frame, map].filter(Boolean));
    this.missing.hidden = Boolean(frame);
    for (const layer of [this.machine, this.drawn]) layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.machine.replaceChildren(
      ...regions.map(({ x, y, width, height }) => shape("rect", { x, y, width, height })),
    );
    this.stage.style.width = `${width}px`;
    this.stage.style.height = `${height}px`;
    this.fit();
  }

  // Screen pixels for one of the frame where the whole frame is seen.
  get fitScale() {
    return Math.min(this.clientWidth / this.size.width, this.clientHeight / this.size.height) || 1;
  }

  fit(tell = true) {
    const scale = this.fitScale;
    const [x, y] = [(this.clientWidth - this.size.width * scale) / 2, (this.clientHeight - this.size.height * scale) / 2];
    this.place({ scale, x, y }, { fitted: true, tell });
  }

  // One screen pixel for one of the frame, or the whole frame again.
  toggleFullSize() {
    if (Math.abs(this.view.scale - 1) < 1e-3 && !this.fitted) this.fit();
    else this.zoom(1 / this.view.scale);
  }

  // By a factor, at a point of this element, or at its middle.
  zoom(factor, at = { x: this.clientWidth / 2, y: this.clientHeight / 2 }) {
    const scale = Math.min(Math.max(this.view.scale * factor, Math.min(this.fitScale / 2, 1)), MOST_SCALE);
    const ratio = scale / this.view.scale;
    this.place({ scale, x: at.x - (at.x - this.view.x) * ratio, y: at.y - (at.y - this.view.y) * ratio });
  }

  pan(dx, dy) {
    this.place({ ...this.view, x: this.view.x + dx, y: this.view.y + dy });
  }

  place(view, { fitted = false, tell = true } = {}) {
    // Some of the frame always stays in sight.
    const { width, height } = this.size;
    const keep = 40;
    view.x = Math.min(Math.max(view.x, keep - width * view.scale), this.clientWidth - keep);
    view.y = Math.min(Math.max(view.y, keep - height * view.scale), this.clientHeight - keep);
    this.view = view;
    this.fitted = fitted;
    this.stage.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    // Lines over the frame are as thin at every zoom.
    this.stage.style.setProperty("--px", `${1 / view.scale}px`);
    this.classList.toggle("pixels", view.scale > PIXELS_FROM);
    this.readout.textContent = `${Math.round(view.scale * 100)} %`;
    if (!tell) return;
    for (const other of this.linked) other.follow(this);
    this.dispatchEvent(new CustomEvent("view"));
  }

  // Viewers that show the same place as this one, as soon as it moves.
  link(viewers) {
    this.linked = viewers.filter((other) => other !== this);
  }

  follow(other) {
    if (!this.stage) return;
    if (other.fitted) {
      this.fit(false);
      return;
    }
    const scale = (other.view.scale / other.fitScale) * this.fitScale;
    const across = (other.clientWidth / 2 - other.view.x) / (other.view.scale * other.size.width);
    const down = (other.clientHeight / 2 - other.view.y) / (other.view.scale * other.size.height);
    const x = this.clientWidth / 2 - across * this.size.width * scale;
    const y = this.clientHeight / 2 - down * this.size.height * scale;
    this.place({ scale, x, y }, { tell: false });
  }

  // A pointer's place in pixels of the frame, with fractions.
  pointOf(event) {
    const edge = this.getBoundingClientRect();
    return {
      x: (event.clientX - edge.left - this.view.x) / this.view.scale,
      y: (event.clientY - edge.top - this.view.y) / this.view.scale,
    };
  }

  onWheel(event) {
    event.preventDefault();
    const edge = this.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * 0.0016), { x: event.clientX - edge.left, y: event.clientY - edge.top });
  }

  onDown(event) {
    if (event.button > 1) return;
    this.setPointerCapture(event.pointerId);
    // The middle button, or Shift, pans while a tool is in hand.
    if (this.tool && event.button === 0 && !event.shiftKey) {
      this.dragging = "tool";
      this.tool.down(this.pointOf(event), event);
    } else {
      this.dragging = { x: event.clientX, y: event.clientY };
      this.classList.add("panning");
    }
  }

  onMove(event) {
    if (this.dragging === "tool" || (!this.dragging && this.tool)) {
      this.tool?.move(this.pointOf(event), event, this.dragging === "tool");
    } else if (this.dragging) {
      this.pan(event.clientX - this.dragging.x, event.clientY - this.dragging.y);
      this.dragging = { x: event.clientX, y: event.clientY };
    }
  }

  onUp(event) {
    if (this.dragging === "tool") this.tool?.up(this.pointOf(event), event);
    this.dragging = null;
    this.classList.remove("panning");
  }
}

customElements.define("part-viewer", PartViewer);
