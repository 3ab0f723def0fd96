// <review-page products='["flange"]'>: a person says what parts really are, one key for each.
//
// Event `shown` with `detail.seq`, when a part's pictures are in the page, decoded.
import { api, element, say } from "./api.js";
import { askClass, askReason, classesOf, offered } from "./review_classes.js";
import "./review_filters.js";
import { key } from "./review_panel.js";
import { loadPictures, ReviewQueue } from "./review_queue.js";
import { RegionEditor } from "./review_regions.js";
import "./viewer.js";

const GOOD = 3;
const HELP = [
  ["O", "good part"],
  ["1 … 9, letters", "defect of that class"],
  ["→ or S", "skip"],
  ["←", "previous part"],
  ["Z, Ctrl+Z", "take the last label back"],
  ["Space, held", "flick between frame and map"],
  ["M", "map on or off"],
  ["+ −, wheel", "zoom"],
  ["Drag, Shift+arrows", "pan"],
  ["F", "one pixel to one, or the whole frame"],
  ["G", "compare with the nearest good parts"],
  ["B P R E", "box, polygon, brush, eraser"],
  ["U", "suggest regions from the map"],
  ["Del", "clear the regions"],
  ["Enter, Esc", "close or leave a polygon"],
  ["N", "new class"],
];

class ReviewPage extends HTMLElement {
  connectedCallback() {
    if (this.queue) return;
    this.queue = new ReviewQueue();
    this.classes = [];
    this.filters = element("review-filters", { products: this.getAttribute("products") });
    this.viewer = element("part-viewer", { class: "main", "aria-label": "Part under review" });
    this.good = element("aside", { class: "good-parts", hidden: true, "aria-label": "Nearest good parts" });
    this.nothing = element("div", { class: "nothing panel", hidden: true });
    this.panel = element("part-panel");
    this.opacity = element("input", { type: "range", min: 0, max: 100, "data-action": "map-opacity", "aria-label": "Opacity of the map" });
    this.opacity.value = 100 * Number(localStorage.mapOpacity || 0.8);
    const tool = (text, letter, run, attributes = {}) => element("button", { type: "button", class: "tool", onclick: run, ...attributes }, text, key(letter));
    this.compare = tool("Good parts", "G", () => this.toggleGood(), { "aria-pressed": "false" });
    this.bar = element(
      "div",
      { class: "view-tools", role: "toolbar", "aria-label": "View" },
      tool("Map", "M", () => this.toggleMap()),
      this.opacity,
      tool("1:1", "F", () => this.viewer.toggleFullSize()),
      tool("", "+", () => this.viewer.zoom(1.5), { "aria-label": "Zoom in", class: "tool bare" }),
      tool("", "−", () => this.viewer.zoom(1 / 1.5), { "aria-label": "Zoom out", class: "tool bare" }),
      this.compare,
      element("span", { class: "grow" }),
      tool("Help", "?", () => this.help()),
    );
    this.append(this.filters, element("div", { class: "looking" }, element("div", { class: "pictures" }, this.viewer, this.nothing, this.good), this.bar), this.panel);
    this.editor = new RegionEditor(this.viewer);
    this.editor.addEventListener("changed", () => this.regionsChanged());
    this.queue.addEventListener("moved", () => this.show());
    this.queue.addEventListener("progress", () => this.showProgress());
    this.filters.addEventListener("changed", (event) => this.queue.start(event.detail));
    this.panel.addEventListener("decide", (event) => this.decide(event.detail));
    this.panel.addEventListener("act", (event) => this.act(event.detail));
    this.panel.diameter.addEventListener("input", () => (this.editor.diameter = Number(this.panel.diameter.value)));
    this.panel.threshold.addEventListener("input", () => this.suggest(Number(this.panel.threshold.value)));
    this.bar.addEventListener("pointerup", () => document.activeElement?.closest?.("button")?.blur());
    this.onKey = (event) => this.key(event);
    this.onKeyUp = (event) => event.key === " " && this.viewer.classList.remove("flick");
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("keyup", this.onKeyUp);
    this.showProgress();
    const seq = Number(new URLSearchParams(location.search).get("seq")) || null;
    this.queue.start(this.filters.query, seq);
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("keyup", this.onKeyUp);
  }

  // The current part: at once where its pictures were loaded ahead.
  async show() {
    const item = this.queue.current;
    this.panel.show(item);
    this.showProgress();
    this.showNothing(item);
    if (!item) {
      this.shown = null;
      this.showGood(null);
      return;
    }
    if (item === this.shown) return;
    this.shown = item;
    this.suggesting?.abort();
    this.useClasses(item.inspection.product);
    if (!item.ready) this.viewer.classList.add("loading");
    const pictures = item.ready ?? (await this.queue.pictures(item));
    if (this.shown !== item) return;
    this.viewer.classList.remove("loading");
    this.viewer.show(pictures);
    this.inSight = item;
    this.editor.choose(this.editor.kind);
    this.editor.load(item.regions ?? (item.labels[0]?.label ? item.labels[0].regions : []));
    this.dispatchEvent(new CustomEvent("shown", { detail: { seq: item.seq } }));
    this.showGood(item);
  }

  showNothing(item) {
    const waiting = this.queue.fetching || this.queue.more;
    this.nothing.hidden = Boolean(item);
    this.viewer.classList.toggle("away", !item);
    if (item) return;
    this.nothing.replaceChildren(
      ...(this.queue.problem
        ? [element("p", {}, this.queue.problem), element("button", { type: "button", class: "tool", onclick: () => this.queue.start(this.filters.query) }, "Try again")]
        : waiting
          ? [element("p", {}, "Looking …")]
          : [
              element("p", { class: "strong" }, this.queue.items.length ? "That was all of them." : "Nothing to look at."),
              element("p", { class: "muted" }, "New parts come as the line inspects them; other filters show other parts."),
              element("button", { type: "button", class: "tool", onclick: () => this.queue.start(this.filters.query) }, "Look again"),
            ]),
    );
  }

  showProgress() {
    this.panel.showProgress(this.queue.left, this.queue.done.length, this.queue.agreement);
    if (this.queue.current && this.queue.current === this.shown) this.panel.said.replaceChildren(...this.panel.labels(this.queue.current));
    if (!this.queue.current) this.showNothing(null);
  }

  async useClasses(product, options) {
    try {
      const classes = await classesOf(product, options);
      if (this.queue.current && this.queue.current.inspection.product !== product) return;
      this.classes = classes;
      this.panel.showClasses(classes, Boolean(product));
      this.colour();
    } catch (error) {
      say(error.message, "problem");
    }
  }

  // Regions have the colour of the part's label, or white.
  colour() {
    const label = this.queue.current?.decision ?? this.queue.current?.labels[0]?.label;
    this.editor.colour = this.classes.find((each) => each.defect_class === label)?.colour ?? "#ffffff";
    this.editor.draw();
  }

  regionsChanged() {
    if (this.queue.current) this.queue.current.regions = this.editor.regions;
  }

  async decide(label) {
    const item = this.queue.current;
    // Nobody labels what is not in sight yet.
    if (!item || item !== this.inSight || this.asking) return;
    const others = item.standing.filter((each) => each.labelled_by !== this.queue.you && each.label !== label);
    let reason = "";
    if (others.length) {
      this.asking = true;
      reason = await askReason(item.inspection.serial, label, others);
      this.asking = false;
      if (reason === null || this.queue.current !== item) return;
    }
    this.queue.decide(label, this.editor.regions, reason);
  }

  act(what) {
    if (what.change) return this.changeClass(what.change);
    const acts = {
      previous: () => this.queue.previous(),
      skip: () => this.queue.skip(),
      undo: () => this.queue.undo(),
      clear: () => this.editor.set([]),
      suggest: () => this.suggest(Number(this.panel.threshold.value)),
      class: () => this.changeClass(null),
    };
    if (acts[what]) return acts[what]();
    // The tool in hand again: away with it.
    this.editor.choose(this.editor.kind === what ? null : what);
    return this.panel.showTool(this.editor.kind);
  }

  async changeClass(known) {
    const product = this.queue.current?.inspection.product;
    if (!product) return;
    const made = await askClass(product, known);
    if (!made) return;
    await this.useClasses(product, { fresh: true });
    if (!known) say(`Class ${made.defect_class}${made.key ? `: key ${made.key.toUpperCase()}` : ", without a key"}`);
  }

  // Regions where the map is at or above a score, in place of those that were suggested before.
  async suggest(threshold) {
    this.panel.showThreshold();
    const item = this.queue.current;
    if (!item) return;
    this.suggesting?.abort();
    this.suggesting = new AbortController();
    try {
      const answer = await api("GET", `/inspections/${item.seq}/suggestion`, { query: { threshold }, signal: this.suggesting.signal });
      if (this.queue.current !== item) return;
      const own = this.editor.regions.filter((each) => !each.suggested);
      this.editor.set([...own, ...answer.regions.map((each) => ({ ...each, suggested: true }))]);
      if (!answer.regions.length) say("The map is nowhere so high; move the slider to the left.");
    } catch (error) {
      if (error.name !== "AbortError") say(error.message, "problem");
    }
  }

  toggleMap() {
    const { dataset } = document.documentElement;
    localStorage.map = dataset.map = dataset.map === "on" ? "off" : "on";
  }

  toggleGood() {
    this.good.hidden = !this.good.hidden;
    this.compare.setAttribute("aria-pressed", String(!this.good.hidden));
    this.showGood(this.queue.current);
  }

  // Passed parts of the same product and camera, from around the same time, with the lowest scores.
  async showGood(item) {
    if (this.good.hidden || !item) {
      this.viewer.link([]);
      this.good.replaceChildren();
      return;
    }
    try {
      item.good ??= api("GET", `/inspections/${item.seq}/nearest-good`, { query: { limit: GOOD } }).then((answer) =>
        Promise.all(answer.inspections.map(async (inspection) => ({ inspection, pictures: await loadPictures(inspection) }))),
      );
      const parts = await item.good;
      if (this.queue.current !== item || this.good.hidden) return;
      const viewers = parts.map(({ inspection }) => element("part-viewer", { "aria-label": `Good part ${inspection.serial}` }));
      this.good.replaceChildren(
        ...parts.map(({ inspection }, index) =>
          element("figure", {}, viewers[index], element("figcaption", {}, element("a", { href: `/inspections/${inspection.seq}` }, inspection.serial), ` ${inspection.score?.toFixed(2) ?? ""}`)),
        ),
        ...(parts.length ? [] : [element("p", { class: "muted" }, "No passed part of this product with a stored frame is near.")]),
      );
      parts.forEach(({ pictures }, index) => viewers[index].show(pictures));
      const all = [this.viewer, ...viewers];
      for (const viewer of all) viewer.link(all);
    } catch (error) {
      item.good = null;
      say(error.message, "problem");
    }
  }

  help() {
    const dialog = element(
      "dialog",
      { class: "help-dialog", "aria-labelledby": "help-title", onclose: () => dialog.remove() },
      element("form", { method: "dialog" }, element("h2", { id: "help-title" }, "Keys"), element("dl", {}, HELP.map(([keys, text]) => element("div", {}, element("dt", {}, key(keys)), element("dd", {}, text)))), element("div", { class: "actions" }, element("button", { class: "tool primary" }, "Close"))),
    );
    document.body.append(dialog);
    dialog.showModal();
  }

  key(event) {
    const { target } = event;
    if (document.querySelector("dialog[open]") || target.closest?.("input:not([type=range]):not([type=checkbox]), select, textarea")) return;
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && pressed !== "z") return;
    if (event.altKey) return;
    if (this.run(pressed, event)) event.preventDefault();
  }

  // True if the key means something here.
  run(pressed, event) {
    if (this.editor.key(pressed)) return true;
    // A held key labels one part.
    const once = (action) => {
      if (!event.repeat) action();
      return true;
    };
    const pans = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.shiftKey && pans[pressed]) return this.viewer.pan(...pans[pressed]) ?? true;
    if (event.target.matches?.("input[type=range]") && pressed.startsWith("Arrow")) return false;
    const own = {
      o: () => this.decide("ok"),
      s: () => this.queue.skip(),
      ArrowRight: () => this.queue.skip(),
      ArrowLeft: () => this.queue.previous(),
      z: () => this.queue.undo(),
      f: () => this.viewer.toggleFullSize(),
      m: () => this.toggleMap(),
      g: () => this.toggleGood(),
      b: () => this.act("box"),
      p: () => this.act("polygon"),
      r: () => this.act("brush"),
      e: () => this.act("erase"),
      u: () => this.act("suggest"),
      n: () => this.act("class"),
      Delete: () => this.act("clear"),
      Escape: () => this.editor.kind && this.act(this.editor.kind),
      "?": () => this.help(),
    };
    if (own[pressed]) return once(own[pressed]);
    if (pressed === "+" || pressed === "=") return this.viewer.zoom(1.5) ?? true;
    if (pressed === "-") return this.viewer.zoom(1 / 1.5) ?? true;
    if (pressed === " ") {
      // A button that was reached by Tab is pressed with it.
      if (event.target.closest?.("button, summary, a, input")) return false;
      this.viewer.classList.add("flick");
      return true;
    }
    const chosen = offered(this.classes).find((each) => each.key === pressed);
    return chosen ? once(() => this.decide(chosen.defect_class)) : false;
  }
}

customElements.define("review-page", ReviewPage);
