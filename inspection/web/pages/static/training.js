// <training-start product>: what can be learned from, and a run. <training-runs product>: the runs. <training-run run>: one, live.

import { Unsuccessful, api, element, plural, say } from "./api.js";

const POLL_MS = 1500;
const OVER = new Set(["succeeded", "failed", "cancelled"]);
const SOURCES = { label: "labelled parts", pass: "passes that nobody labelled", folder: "imported images" };
const STAGES = {
  queued: "waiting for the trainer", starting: "starting", autopilot: "comparing designs", read: "reading images", bank: "choosing what to remember",
  calibrate: "calibrating", export: "exporting", parity: "comparing the export", store: "storing", gate: "gating", score: "scoring stored images",
};

const when = (text) => (text ? new Date(text).toLocaleString("sv-SE") : "–");

function took(run) {
  if (!run.started_at || !run.ended_at) return "";
  const seconds = Math.round((new Date(run.ended_at) - new Date(run.started_at)) / 1000);
  return `took ${seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`}`;
}

function progress(run) {
  const share = run.state === "succeeded" ? 1 : run.steps ? run.done / run.steps : 0;
  const words = OVER.has(run.state) ? took(run) : `${STAGES[run.stage] ?? run.stage}${run.steps > 1 ? `, ${run.done} of ${run.steps}` : ""}`;
  return element("div", { class: `run-progress ${run.state}` },
    element("div", { class: "run-bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(100 * share)), "aria-label": "Progress of this stage" }, element("i", { style: `width:${(100 * share).toFixed(1)}%` })),
    element("span", { class: "muted" }, words));
}

async function cancel(run) {
  try {
    await api("POST", `/training-runs/${run.training_run_id}/cancel`, { body: {} });
    say(`Run ${run.training_run_id} is being cancelled`);
  } catch (error) {
    if (!(error instanceof Unsuccessful)) throw error;
    say(error.message, "problem");
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

// Something that asks again while the page is open; `ask` returns true as long as there is something to wait for.
class Polling extends HTMLElement {
  connectedCallback() {
    if (this.open) return;
    this.open = true;
    this.begin();
    this.poll();
  }

  disconnectedCallback() {
    this.open = false;
    clearTimeout(this.timer);
  }

  async poll() {
    let on = true;
    try {
      on = await this.ask();
      this.failed?.remove();
    } catch (error) {
      if (!(error instanceof Unsuccessful)) throw error;
      this.failed ??= element("p", { class: "form-problem", role: "alert" });
      this.failed.textContent = error.message;
      this.prepend(this.failed);
    }
    if (on && this.open) this.timer = setTimeout(() => this.poll(), POLL_MS);
  }
}

class TrainingRuns extends Polling {
  begin() {
    this.product = this.getAttribute("product");
    this.place = element("div", {});
    this.append(this.place);
  }

  async ask() {
    const { items } = await api("GET", "/training-runs", { query: { product: this.product, limit: 30 } });
    const seen = JSON.stringify(items.map(({ log, ...run }) => run));
    if (seen !== this.seen) {
      this.seen = seen;
      this.show(items);
    }
    return true;
  }

  show(items) {
    if (!items.length) {
      this.place.replaceChildren(element("div", { class: "panel" }, element("p", {}, "No model of this product was trained on this station yet.")));
      return;
    }
    const rows = items.map((run) => element("tr", {},
      element("td", {}, element("a", { class: "strong", href: `/training/${run.training_run_id}` }, `Run ${run.training_run_id}`)),
      element("td", {}, element("span", { class: `state ${run.state}` }, run.state)), element("td", { class: "progress-cell" }, progress(run)),
      element("td", { class: "time" }, when(run.requested_at)), element("td", {}, run.requested_by), element("td", {}, run.reason || element("span", { class: "muted" }, "–")),
      element("td", {}, run.model ? element("a", { href: `/models/${run.model}` }, run.model.slice(0, 12)) : element("span", { class: "muted" }, "–")),
      element("td", {}, OVER.has(run.state) ? "" : element("button", { class: "tool", type: "button", disabled: run.cancelled_by !== null, onclick: () => cancel(run) }, run.cancelled_by ? "Ending …" : "Cancel"))));
    this.place.replaceChildren(element("div", { class: "panel table" }, element("table", {},
      element("thead", {}, element("tr", {}, ["Run", "State", "Stage", "Asked for", "By", "Why", "Model", ""].map((text) => element("th", {}, text)))), element("tbody", {}, rows))));
  }
}

class TrainingRun extends Polling {
  begin() {
    this.run = this.getAttribute("run");
    this.state = element("span", { class: "state" });
    this.bar = element("div", {});
    this.button = element("button", { class: "tool danger", type: "button", hidden: true, onclick: () => cancel({ training_run_id: Number(this.run) }) }, "Cancel this run");
    this.log = element("pre", { class: "run-log", tabindex: "0", "aria-label": "Log of the run" });
    this.append(element("div", { class: "panel" }, element("div", { class: "pair" }, element("h2", {}, "Progress"), this.state), this.bar, this.button,
      element("details", { class: "as-table", open: this.getAttribute("over") !== "yes" }, element("summary", {}, "Log"), this.log)));
  }

  async ask() {
    const run = await api("GET", `/training-runs/${this.run}`);
    const over = OVER.has(run.state);
    if (over && this.running) {
      // What it learned and made is on the page of a run that is over.
      location.reload();
      return false;
    }
    this.running = !over;
    this.state.className = `state ${run.state}`;
    this.state.textContent = run.state;
    this.bar.replaceChildren(progress(run));
    this.button.hidden = over;
    this.button.disabled = run.cancelled_by !== null;
    if (run.cancelled_by !== null) this.button.textContent = `Being cancelled for ${run.cancelled_by} …`;
    if (this.log.textContent !== run.log) {
      const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 30;
      this.log.textContent = run.log || "Nothing yet.";
      if (atEnd) this.log.scrollTop = this.log.scrollHeight;
    }
    return !over;
  }
}

class TrainingStart extends HTMLElement {
  async connectedCallback() {
    if (this.started) return;
    this.started = true;
    this.product = this.getAttribute("product");
    this.out = { label: new Set(), lot: new Set(), source: new Set() };
    this.replaceChildren(element("p", { class: "muted", role: "status" }, "Counting images …"));
    await this.load();
  }

  async load() {
    try {
      this.draft = await api("GET", "/training-sets/draft", { query: { product: this.product, without_label: [...this.out.label], without_lot: [...this.out.lot], without_source: [...this.out.source] } });
    } catch (error) {
      if (!(error instanceof Unsuccessful)) throw error;
      this.replaceChildren(element("div", { class: "panel" }, element("p", { class: "form-problem", role: "alert" }, error.message)));
      return;
    }
    const opened = this.querySelector("details.lots")?.open;
    const focused = document.activeElement?.dataset?.choice;
    this.sources ??= element("section", { class: "panel" });
    this.form ??= this.startForm();
    if (!this.sources.isConnected) this.replaceChildren(this.sources, this.form);
    this.showSources(opened);
    if (focused) this.querySelector(`[data-choice="${CSS.escape(focused)}"]`)?.focus();
    this.form.querySelector("[type=submit]").disabled = this.draft.problem !== null;
  }

  choice(kind, value, words) {
    const box = element("input", { type: "checkbox", "data-choice": `${kind} ${value}`, onchange: () => {
      if (box.checked) this.out[kind].delete(value);
      else this.out[kind].add(value);
      this.load();
    } });
    box.checked = !this.out[kind].has(value);
    return element("label", { class: "check" }, box, words);
  }

  showSources(opened) {
    const { groups, sizes } = this.draft;
    const heading = element("h2", {}, "1. What to learn from");
    if (!groups.length) {
      this.sources.replaceChildren(heading,
        element("p", {}, "Nothing of this product is stored yet. A first model learns from at least ten images of good parts, better thirty or more, taken by the camera of the line in its light."), this.upload());
      return;
    }
    const total = (where) => groups.filter(where).reduce((sum, group) => sum + group.images, 0);
    const labels = [...new Set(groups.map((group) => group.label))].sort((a, b) => (a === "ok" ? -1 : b === "ok" ? 1 : a.localeCompare(b)));
    const rows = labels.map((label) => element("tr", {},
      element("th", { scope: "row" }, label === "ok" ? "good (ok)" : this.choice("label", label, label)),
      element("td", { class: "n" }, String(sizes.train?.[label] ?? 0)), element("td", { class: "n" }, String(sizes.validation?.[label] ?? 0)),
      element("td", { class: "muted" }, Object.entries(SOURCES).map(([source, words]) => [total((group) => group.label === label && group.source === source), words]).filter(([count]) => count).map(([count, words]) => `${count} ${words}`).join(", "))));
    const table = element("div", { class: "table-wrap" }, element("table", {}, element("thead", {}, element("tr", {}, element("th", {}, "Label"), element("th", { class: "n" }, "Learn from"), element("th", { class: "n" }, "Validate with"), element("th", {}, "Where they come from"))), element("tbody", {}, rows)));
    const sources = [...new Set(groups.map((group) => group.source))].map((source) => this.choice("source", source, `${SOURCES[source]} (${total((group) => group.source === source)})`));
    const lots = [...new Set(groups.map((group) => group.lot))].sort();
    const lotRows = lots.map((lot) => {
      const of = groups.filter((group) => group.lot === lot);
      return element("tr", {}, element("td", {}, this.choice("lot", lot, lot.startsWith("folder: ") ? `images of ${lot.slice(8)}` : `lot ${lot}`)), element("td", {}, of[0].side === "train" ? "learn from" : "validate with"),
        element("td", { class: "n" }, String(of.filter((group) => group.label === "ok").reduce((sum, group) => sum + group.images, 0))), element("td", { class: "n" }, String(of.filter((group) => group.label !== "ok").reduce((sum, group) => sum + group.images, 0))));
    });
    const lotTable = element("details", { class: "as-table lots", open: Boolean(opened) }, element("summary", {}, `${plural(lots.length, "lot")} and folders, to leave some out`),
      element("div", { class: "scrolled" }, element("table", {}, element("thead", {}, element("tr", {}, element("th", {}, "Lot"), element("th", {}, "Used to"), element("th", { class: "n" }, "Good"), element("th", { class: "n" }, "Defective"))), element("tbody", {}, lotRows))));
    this.sources.replaceChildren(heading, table, element("fieldset", { class: "options" }, element("legend", {}, "Use"), sources), lotTable, this.upload(),
      this.draft.problem ? element("p", { class: "form-problem", role: "alert" }, this.draft.problem) : "",
      this.draft.warnings.length ? element("ul", { class: "notes", "aria-label": "What to know before training" }, this.draft.warnings.map((text) => element("li", {}, text))) : "");
  }

  // Good images from the person's own computer, one after the other.
  upload() {
    const files = element("input", { type: "file", multiple: true, accept: ".png,.jpg,.jpeg,.bmp,.tif,.tiff" });
    const told = element("p", { role: "status", class: "muted" });
    const refused = element("ul", { class: "notes" });
    files.addEventListener("change", async () => {
      const folder = `added on ${new Date().toLocaleString("sv-SE")}`;
      const chosen = [...files.files];
      let [added, known] = [0, 0];
      files.disabled = true;
      for (const [index, file] of chosen.entries()) {
        told.textContent = `${index + 1} of ${chosen.length}: ${file.name}`;
        try {
          const image = await api("POST", "/imported-images", { body: { product: this.product, name: file.name, folder, content: await base64(file) } });
          if (image.new) added += 1;
          else known += 1;
        } catch (error) {
          if (!(error instanceof Unsuccessful)) throw error;
          refused.append(element("li", {}, error.message));
        }
      }
      files.disabled = false;
      this.imported = { told: `${plural(added, "image")} added${known ? `, ${known} were there already` : ""}`, refused };
      await this.load();
    });
    if (this.imported) {
      told.textContent = this.imported.told;
      refused.replaceChildren(...this.imported.refused.childNodes);
      this.imported = undefined;
    }
    return element("div", { class: "upload" }, element("label", { class: "field" }, "Add images of good parts", files, element("span", { class: "hint" }, "PNG, JPEG, BMP or TIFF. Only images of parts that are good beyond doubt: the model takes all of it as good.")), told, refused);
  }

  startForm() {
    const auto = element("input", { type: "radio", name: "size", value: "auto" });
    const fixed = element("input", { type: "radio", name: "size", value: "fixed" });
    auto.checked = true;
    const pixels = element("input", { type: "number", name: "pixels", min: "96", max: "1024", value: "320", "aria-label": "Longer side in pixels", disabled: true });
    const change = () => { pixels.disabled = !fixed.checked; };
    auto.addEventListener("change", change);
    fixed.addEventListener("change", change);
    const share = element("input", { type: "number", name: "false_rejects", min: "0.01", max: "50", step: "any", value: "2", required: true });
    const reason = element("textarea", { name: "reason", rows: "2", maxlength: "1000", required: true });
    const submit = element("button", { class: "tool primary", type: "submit" }, "Start training");
    const problem = element("p", { class: "form-problem", role: "alert", hidden: true });
    const form = element("form", { class: "panel start-form" }, element("h2", {}, "2. Train"),
      element("fieldset", { class: "options" }, element("legend", {}, "Size of what the network looks at"),
        element("label", { class: "check" }, auto, "find the best that is fast enough (takes some minutes longer)"), element("label", { class: "check" }, fixed, "fixed:", pixels, "pixels on the longer side")),
      element("label", { class: "field narrow" }, "Good parts stopped, at most %", share),
      element("label", { class: "field" }, "Why", reason, element("span", { class: "hint" }, "For the record: what is new since the last model?")),
      problem, element("div", { class: "actions" }, submit));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      problem.hidden = true;
      try {
        const set = await api("POST", "/training-sets", { body: { product: this.product, leave_out: { labels: [...this.out.label], lots: [...this.out.lot], sources: [...this.out.source] } } });
        const run = await api("POST", "/training-runs", { body: { training_set: set.training_set, reason: reason.value.trim(), false_rejects: Number(share.value) / 100, longer_side: fixed.checked ? Number(pixels.value) : null } });
        location.assign(`/training/${run.training_run_id}`);
      } catch (error) {
        if (!(error instanceof Unsuccessful)) throw error;
        problem.textContent = error.message;
        problem.hidden = false;
        submit.disabled = false;
      }
    });
    return form;
  }
}

customElements.define("training-runs", TrainingRuns);
customElements.define("training-run", TrainingRun);
customElements.define("training-start", TrainingStart);
