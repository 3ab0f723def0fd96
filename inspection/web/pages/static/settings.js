// <station-settings>: the configuration as forms and as text, its former versions, and what the station is made of. A draft is kept
// in this page until it is saved; nothing takes effect before the station is restarted.
import { api, element, say } from "./api.js";
import { ask, at, field } from "./golden.js";
import { dryRun } from "./settings-dry-run.js";
import { restart } from "./settings-restart.js";
import { stationPanel } from "./settings-station.js";

// What settings mean, for people; what is not named here is shown by its key.
const WORDS = {
  camera: ["Camera", "which camera looks at it"],
  deadline_ms: ["Deadline, ms", "from trigger to output; a verdict that is not durable by then is a reject"],
  serial_code: ["Code on the part", "regular expression of the Data Matrix or QR code; its first group is the serial. Empty: not compared"],
  challenge_every_hours: ["Challenge every, hours", "golden parts judged right so recently, or production is locked. Empty: none asked for"],
  challenge_after_deployment: ["Challenge after each deployment", "also when another model was put in service since"],
  expose_window_ms: ["Exposure window, ms", "the trigger edge follows its request within this time, or is not raised"],
  max_open: ["Parts under way", "between trigger and durable verdict; more are rejected as overload"],
  keep_pass_share: ["Images of passed parts stored", "share from 0 to 1; those of all others always are"],
  keep_pass_days: ["Images of passed parts kept, days", "sooner deleted where there is no room"],
  keep_reject_days: ["Images of other parts kept, days", "never deleted sooner. Empty: kept for ever"],
  max_gb: ["All images at most, GB", "then those of passed parts are deleted, oldest first. Empty: as the disk allows"],
  min_free_gb: ["Left free on the disk, GB", "for the rows: images of passed parts are deleted, then no more images are stored"],
};
const SECTIONS = { line: "Line", images: "Images" };
const TABS = { recipes: "Recipes", file: "File", history: "History", station: "Station" };

customElements.define("station-settings", class extends HTMLElement {
  async connectedCallback() {
    this.tab = "recipes";
    this.nav = element("nav", { class: "filters", role: "tablist", "aria-label": "Settings" });
    this.notice = element("section", { class: "notice" });
    this.body = element("section", { class: "settings-body" });
    this.draftBar = element("section", { class: "draft", "aria-live": "polite" });
    this.tools = element("div", { class: "tools" });
    this.replaceChildren(element("div", { class: "pair" }, this.nav, this.tools), this.notice, this.body, this.draftBar);
    this.leaving = (event) => {
      if (this.dirty) event.preventDefault();
    };
    addEventListener("beforeunload", this.leaving);
    await this.guarded(() => this.load());
  }

  disconnectedCallback() {
    removeEventListener("beforeunload", this.leaving);
  }

  get dirty() {
    return this.file !== undefined && this.toml !== this.file.toml;
  }

  async load() {
    this.adopt(await api("GET", "/settings"));
    this.draw();
  }

  adopt(file) {
    this.file = file;
    this.toml = file.toml;
    this.forms = file.forms;
    this.why = "";
    this.checked = null;
    if (!file.forms.length && this.tab === "recipes") this.tab = "file";
  }

  draw() {
    this.nav.replaceChildren(...Object.entries(TABS).map(([name, words]) => element("button", {
      type: "button", role: "tab", class: "tab", "aria-selected": String(this.tab === name),
      onclick: () => {
        this.tab = name;
        this.draw();
      },
    }, words)));
    this.tools.replaceChildren(this.file.restartable ? element("button", {
      type: "button", class: "tool", disabled: this.file.errors.length > 0, onclick: () => this.guarded(() => restart(this.file.started_at, this.file.waiting.length > 0)),
    }, "Restart station") : "");
    const { waiting, errors } = this.file;
    this.notice.replaceChildren(
      errors.length ? element("div", { class: "panel alert bad" }, element("b", {}, "The file has errors: the station would not start again."), ...errors.map(wrong)) : "",
      waiting.length ? element("div", { class: "panel alert" }, element("b", {}, `${waiting.length === 1 ? "One change takes" : `${waiting.length} changes take`} effect when the station is restarted.`), changeList(waiting)) : "");
    const drawn = { recipes: () => this.recipes(), file: () => this.text(), history: () => this.history(), station: () => stationPanel() }[this.tab]();
    this.body.replaceChildren(drawn);
    this.drawDraft();
  }

  recipes() {
    if (!this.forms.length) return element("div", { class: "panel" }, element("p", {}, "The text has errors. Correct it under File."));
    return element("div", { class: "form-grid" }, ...this.forms.map((form) => element("form", { class: "panel", onsubmit: (event) => event.preventDefault() },
      element("h2", {}, form.name ?? SECTIONS[form.section] ?? form.section, form.name ? element("span", { class: "muted" }, " recipe") : null),
      element("div", { class: "fields" }, ...form.fields.map((each) => this.input(form, each))))));
  }

  input(form, { key, kind, value, optional, minimum, maximum, choices }) {
    const [label, hint] = WORDS[key] ?? [key, null];
    const change = (changed) => this.guarded(() => this.edit(form, key, changed));
    if (kind === "flag") {
      return element("label", { class: "flag" }, element("input", { type: "checkbox", name: key, checked: value === true, onchange: (event) => change(event.target.checked) }),
        element("span", {}, label, hint ? element("span", { class: "hint" }, hint) : null));
    }
    if (kind === "choice") {
      return field(label, element("select", { name: key, onchange: (event) => change(event.target.value || null) },
        ...[...(optional ? [""] : []), ...choices].map((choice) => element("option", { value: choice, selected: choice === (value ?? "") }, choice))), hint);
    }
    const number = kind === "number";
    return field(label, element("input", {
      name: key, type: number ? "number" : "text", step: "any", min: number ? minimum : null, max: number ? maximum : null, value: value ?? "", autocomplete: "off", spellcheck: "false",
      onchange: (event) => {
        const said = event.target.value.trim();
        if (number && event.target.validity.badInput) return say(`${label}: write a number`, "problem");
        change(said === "" ? null : number ? Number(said) : said);
      },
    }), hint);
  }

  async edit(form, key, value) {
    const { toml } = await api("POST", "/settings/edit", { body: { toml: this.toml, section: form.section, name: form.name, values: { [key]: value } } });
    this.toml = toml;
    const shown = this.forms.find((each) => each.section === form.section && each.name === form.name);
    shown.fields.find((each) => each.key === key).value = value;
    await this.check();
  }

  text() {
    const area = element("textarea", { class: "toml", spellcheck: "false", autocomplete: "off", "aria-label": "Text of the configuration file" });
    area.value = this.toml;
    area.addEventListener("input", () => {
      this.toml = area.value;
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.guarded(() => this.retyped()), 400);
    });
    return element("div", {}, element("p", { class: "muted path-of-file" }, element("code", {}, this.file.path)), area);
  }

  async retyped() {
    await this.check();
    if (this.checked?.valid) {
      const { forms } = await api("POST", "/settings/edit", { body: { toml: this.toml, section: "line", values: {} } });
      this.forms = forms;
    } else {
      this.forms = [];
    }
  }

  async check() {
    const toml = this.toml;
    const checked = this.dirty ? await api("POST", "/settings/check", { body: { toml } }) : null;
    if (toml !== this.toml) return;
    this.checked = checked;
    this.drawDraft();
  }

  drawDraft() {
    if (!this.dirty || !this.checked) return this.draftBar.replaceChildren();
    const { valid, errors, changes, diff } = this.checked;
    const open = this.draftBar.querySelector("details")?.open ?? false;
    const products = this.forms.filter((form) => form.section === "products").map((form) => form.name);
    this.draftBar.replaceChildren(element("div", { class: `panel draft-panel${valid ? "" : " bad"}` },
      element("div", { class: "pair" },
        element("h2", {}, valid ? (changes.length ? `Draft: ${changes.length === 1 ? "1 setting changes" : `${changes.length} settings change`}` : "Draft: only comments or layout change") : "Draft: the station would not start with this"),
        element("div", { class: "tools" },
          element("button", { type: "button", class: "tool", onclick: () => this.discard() }, "Discard"),
          element("button", { type: "button", class: "tool", disabled: !valid || !products.length, onclick: () => dryRun(this.toml, products) }, "Dry run"),
          element("button", { type: "button", class: "tool primary", disabled: !valid, onclick: () => this.save() }, "Save"))),
      valid ? changeList(changes) : element("div", {}, ...errors.map(wrong)),
      element("details", { open }, element("summary", {}, "Difference line by line"), diffOf(diff))));
  }

  discard() {
    this.adopt(this.file);
    this.guarded(() => this.load());
  }

  async save() {
    const said = await ask("Save the settings", element("div", { class: "fields" },
      element("p", {}, this.checked.restart.length ? "They take effect when the station is restarted. The former version is kept." : "Nothing has to be restarted. The former version is kept."),
      field("Why", element("input", { name: "reason", required: true, maxlength: 1000, value: this.why, autocomplete: "off" }))), "Save");
    if (!said) return;
    await this.guarded(async () => {
      this.adopt(await api("PUT", "/settings", { body: { toml: this.toml, digest: this.file.digest, reason: said.get("reason") } }));
      this.draw();
      say("Settings saved.");
    });
  }

  history() {
    const place = element("div", {}, element("p", { class: "muted" }, "Reading …"));
    this.guarded(async () => {
      const { items } = await api("GET", "/settings/versions");
      place.replaceChildren(items.length ? element("div", { class: "panel table" }, element("table", {},
        element("thead", {}, element("tr", {}, ...["Version", "Replaced", "By", "Why", ""].map((name) => element("th", {}, name)))),
        element("tbody", {}, ...items.map((each) => element("tr", {},
          element("td", {}, each.version), element("td", { class: "time" }, at(each.replaced_at)), element("td", {}, each.replaced_by || "–"), element("td", { class: "detail" }, each.reason || "–"),
          element("td", { class: "n" }, element("button", { type: "button", class: "tool small", "aria-label": `Restore version ${each.version}`, onclick: () => this.restore(each.version) }, "Restore"))))))) :
        element("div", { class: "panel" }, element("p", { class: "muted" }, "The settings have not been changed here yet.")));
    });
    return place;
  }

  restore(version) {
    return this.guarded(async () => {
      const { toml } = await api("GET", `/settings/versions/${version}`);
      if (toml === this.file.toml) return say(`Version ${version} is what the file says now.`);
      this.toml = toml;
      this.why = `restored version ${version}`;
      this.tab = "file";
      await this.retyped();
      this.draw();
      say(`Version ${version} is in the draft. Look at the difference, and save it.`);
    });
  }

  async guarded(work) {
    try {
      await work();
    } catch (error) {
      if (this.file === undefined) this.body.replaceChildren(element("p", { class: "panel problem" }, error.message));
      else say(error.message, "problem");
    }
  }
});

function wrong({ key, message }) {
  return element("p", { class: "wrong-key" }, element("code", {}, key), " ", message);
}

function changeList(changes) {
  return element("ul", { class: "changes" }, ...changes.map(({ key, before, after }) => element("li", {},
    element("code", {}, key), element("span", {}, element("del", {}, before ?? "not set"), " → ", element("ins", {}, after ?? "not set")))));
}

function diffOf(text) {
  const kind = (line) => (/^(\+\+\+|---)/.test(line) ? "head" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : line.startsWith("@@") ? "head" : "");
  return element("pre", { class: "diff", tabindex: "0", "aria-label": "Difference" }, ...text.trimEnd().split("\n").map((line) => element("span", { class: kind(line) }, line + "\n")));
}
