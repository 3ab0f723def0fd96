// <golden-images product="…">: the images that every model must judge right, what models made of them, and labelled parts to add.
import { api, element, say } from "./api.js";
import { ask, at } from "./golden.js";

customElements.define("golden-images", class extends HTMLElement {
  connectedCallback() {
    this.query = { product: this.getAttribute("product") };
    this.gallery = element("section", {});
    this.models = element("section", {});
    this.replaceChildren(this.gallery, this.models);
    this.refresh();
  }

  async refresh() {
    try {
      const [golden, gates] = await Promise.all([
        api("GET", "/golden-images", { query: this.query }),
        api("GET", "/gates/golden", { query: this.query }),
      ]);
      this.show(golden.images);
      this.gates(gates.items);
    } catch (error) {
      this.gallery.replaceChildren(element("p", { class: "panel problem" }, error.message));
    }
  }

  show(images) {
    const tiles = images.map((image) => element("li", { class: "panel golden-tile" },
      element("img", { loading: "lazy", alt: `${image.label}: ${image.name}`, src: `/api/v1/golden-images/${image.sha256}/image?${new URLSearchParams(this.query)}` }),
      element("div", { class: "about" },
        element("span", { class: `kind ${image.label === "ok" ? "good" : "defect"}` }, image.label),
        element("span", { class: "name", title: `${image.name}, added by ${image.added_by}` }, image.name),
        element("button", { type: "button", class: "tool small", "aria-label": `Remove ${image.name}`, onclick: () => this.remove(image) }, "Remove"))));
    this.gallery.replaceChildren(
      element("div", { class: "title results" }, element("h2", {}, `Golden images (${images.length})`),
        element("span", { class: "muted grow" }, "every model must judge them right before it may decide"),
        element("button", { type: "button", class: "tool", onclick: () => this.add() }, "Add images")),
      images.length ? element("ul", { class: "golden-tiles" }, ...tiles) :
        element("div", { class: "panel" }, element("p", {}, "No golden image yet. Label inspections whose truth is beyond doubt, and add them here.")));
  }

  gates(models) {
    const rows = models.map((model) => element("tr", {},
      element("td", {}, element("code", { title: model.model }, model.model.slice(0, 12)), model.in_service ? element("span", { class: "outcome passed beside" }, "in service") : null),
      element("td", { class: "time" }, at(model.created_at)),
      element("td", {}, model.passed === null ? element("span", { class: "muted" }, "not gated") : element("b", { class: model.passed ? "right" : "not-right" }, model.passed ? "✓ right" : "✗ wrong")),
      element("td", { class: "detail" }, model.detail ?? "–"),
      element("td", { class: "time" }, model.gated_at ? at(model.gated_at) : "–")));
    this.models.replaceChildren(
      element("div", { class: "title results" }, element("h2", {}, "What models made of them"), element("span", { class: "muted grow" }, "in the newest gate of each")),
      models.length ? element("div", { class: "panel table" }, element("table", {},
        element("thead", {}, element("tr", {}, ...["Model", "Made", "Golden images", "Found", "Gated"].map((name) => element("th", {}, name)))),
        element("tbody", {}, ...rows))) : element("div", { class: "panel" }, element("p", { class: "muted" }, "No model of this product is registered.")));
  }

  async add() {
    const found = element("ul", { class: "candidates" });
    const search = element("input", { type: "search", name: "text", maxlength: 64, placeholder: "serial, lot or label", autocomplete: "off" });
    const numbers = element("input", { name: "seqs", inputmode: "numeric", pattern: "[0-9, ]*", placeholder: "1041, 1042", autocomplete: "off" });
    let asked = 0;
    const look = async () => {
      const mine = ++asked;
      const { items } = await api("GET", "/labels/golden-candidates", { query: { ...this.query, text: search.value.trim() } });
      if (mine !== asked) return;
      found.replaceChildren(...items.map((item) => element("li", {}, element("label", {},
        element("input", { type: "checkbox", name: "seq", value: item.seq }),
        element("img", { loading: "lazy", alt: "", src: `/api/v1/inspections/${item.seq}/image?render=thumbnail` }),
        element("span", { class: `kind ${item.label === "ok" ? "good" : "defect"}` }, item.label),
        element("span", { class: "name" }, `${item.serial} · ${item.seq}`)))));
      if (!items.length) found.append(element("li", { class: "muted" }, "No labelled inspection with a stored frame, or all are golden already."));
    };
    let timer;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => look().catch((error) => say(error.message, "problem")), 200);
    });
    look().catch((error) => say(error.message, "problem"));
    const said = await ask("Add golden images", element("div", { class: "fields wide" },
      element("label", { class: "field" }, "Labelled inspections", search), found,
      element("label", { class: "field" }, "Or their numbers", numbers)), "Add");
    if (!said) return;
    const seqs = [...said.getAll("seq"), ...said.get("seqs").split(/[\s,]+/)].filter(Boolean).map(Number);
    if (!seqs.length) return;
    await this.act(() => api("POST", "/golden-images", { body: { ...this.query, seqs } }), seqs.length === 1 ? "Golden image added." : `${seqs.length} golden images added.`);
  }

  async remove(image) {
    const said = await ask(`Remove ${image.name}`, element("p", {}, "Models will not be asked for it any more. The image stays stored with its inspection."), "Remove", "danger");
    if (said) await this.act(() => api("DELETE", `/golden-images/${image.sha256}`, { query: this.query }), "Golden image removed.");
  }

  async act(work, done) {
    try {
      await work();
      say(done);
    } catch (error) {
      say(error.message, "problem");
    }
    await this.refresh();
  }
});
