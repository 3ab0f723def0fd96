// <golden-challenge product="…">: where production stands, the golden parts with what the running challenge shows of them, and the
// challenges before.
import { api, element, say, segment } from "./api.js";

const VERDICTS = { pass: "Pass", fail: "Fail", review: "Review", not_inspected: "Not inspected" };
const STATES = { running: "running", passed: "passed", failed: "failed", abandoned: "abandoned" };
const BUSY_MS = 1000;
const QUIET_MS = 5000;

const OUTLINES = {
  pass: ["circle", "M6.5 12.5l3.8 3.8 7.2-8.2"],
  fail: ["M7.6 1.2h8.8l6.4 6.4v8.8l-6.4 6.4H7.6l-6.4-6.4V7.6z", "M8 8l8 8M16 8l-8 8"],
  review: ["M12 1.6L23.4 21.6H.6z", "M12 9v5.4M12 17.9v.2"],
  not_inspected: ["circle", "M6.5 12h11"],
};
const LOCKS = { locked: "M8 11V8a4 4 0 0 1 8 0v3 M6 11h12v9H6z", free: "M8 11V8a4 4 0 0 1 7.6-1.8 M6 11h12v9H6z", unasked: "M6.5 12h11" };

// A time as the other pages show it.
export function at(text) {
  const time = new Date(text);
  const two = (number) => String(number).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

function drawing(name, ...outlines) {
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = make("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: name });
  svg.append(...outlines.map((d) => (d === "circle" ? make("circle", { cx: 12, cy: 12, r: 11 }) : make("path", { d }))));
  return svg;
}

const badge = (verdict) => element("span", { class: `badge ${verdict}` }, drawing("symbol", ...OUTLINES[verdict]), VERDICTS[verdict]);

function span(milliseconds) {
  const minutes = Math.max(0, Math.round(milliseconds / 60000));
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

const expected = (label) => (label === "ok" ? "must pass" : "must be stopped");

export function ask(title, content, action, kind = "primary") {
  return new Promise((resolve) => {
    const dialog = element("dialog", { "aria-label": title });
    const form = element("form", { method: "dialog" }, element("h2", {}, title), content,
      element("div", { class: "actions" },
        element("button", { type: "submit", class: "tool", value: "", formnovalidate: true }, "Cancel"),
        element("button", { type: "submit", class: `tool ${kind}`, value: "yes" }, action)));
    dialog.append(form);
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("input, textarea, select") ?? dialog.querySelector(`button[value="yes"]`)).focus();
    // Enter in a field shall act, and the first button of a form is what it presses.
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.matches("input")) {
        event.preventDefault();
        form.requestSubmit(form.querySelector(`button[value="yes"]`));
      }
    });
  });
}

customElements.define("golden-challenge", class extends HTMLElement {
  connectedCallback() {
    this.product = this.getAttribute("product");
    this.query = { product: this.product };
    this.pictures = new Map();
    this.shown = "";
    this.banner = element("section", { class: "standing", "aria-live": "polite" });
    this.parts = element("section", { class: "golden-parts" });
    this.history = element("section", { class: "challenges" });
    this.replaceChildren(this.banner, this.parts, this.history);
    this.refresh();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    this.gone = true;
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      await this.read();
    } catch (error) {
      this.banner.replaceChildren(element("p", { class: "panel problem" }, error.message));
      this.shown = "";
    }
    if (!this.gone) this.timer = setTimeout(() => this.refresh(), this.running ? BUSY_MS : QUIET_MS);
  }

  async read() {
    const [standings, parts, past] = await Promise.all([
      api("GET", "/challenges/standings"),
      api("GET", "/golden-parts", { query: this.query }),
      api("GET", "/challenges", { query: { ...this.query, limit: 20 } }),
    ]);
    const here = standings.items.find((item) => item.standing.product === this.product);
    this.running = here.running;
    const now = this.running ? await api("GET", `/challenges/${this.running.challenge_id}`) : null;
    const ended = past.items.find((each) => each.state === "passed" || each.state === "failed");
    const results = new Map((now ? now.results : ended?.results ?? []).map((result) => [result.serial, result]));
    await Promise.all([...results.values()].map((result) => this.picture(result.seq)));
    // Drawn anew only when something changed, so that focus and selection stay.
    const state = JSON.stringify([here, parts.items, past.items, now, [...this.pictures]]);
    this.standing(here, now, parts.items);
    if (state === this.shown) return;
    this.shown = state;
    this.show(parts.items, results, now, ended);
    this.past(past.items);
  }

  // Pictures are stored a moment after the verdict; until then there is nothing to show.
  async picture(seq) {
    if (seq === null || this.pictures.get(seq)) return;
    const { images } = await api("GET", `/inspections/${seq}`);
    this.pictures.set(seq, images.some((image) => image.kind === "frame" && !image.deleted_at));
  }

  standing({ standing }, now, parts) {
    const asked = standing.due_at !== null;
    const kind = !asked ? "unasked" : standing.locked ? "locked" : "free";
    const word = { unasked: "No challenge asked for", locked: "Locked", free: "Unlocked" }[kind];
    const left = new Date(standing.due_at) - Date.now();
    const due = kind === "free" ? `Next challenge due in ${span(left)}, ${at(standing.due_at)}` :
      kind === "locked" ? "Parts of production are not inspected, and rejected, until a challenge is passed" :
      "Set challenge_every_hours in the recipe, and production waits for its golden parts";
    const key = JSON.stringify([kind, due, standing.why, now, parts.length]);
    if (key === this.stood) return;
    this.stood = key;
    const judged = now ? now.results.filter((result) => result.right !== null).length : 0;
    const wrong = now ? now.results.some((result) => result.right === false) : false;
    const actions = now ? [
      element("button", { type: "button", class: "tool primary", disabled: now.to_do !== null, onclick: () => this.finish(now, wrong) }, "Finish challenge"),
      element("button", { type: "button", class: "tool danger", disabled: wrong, onclick: () => this.abandon(now) }, "Abandon"),
    ] : [element("button", { type: "button", class: "tool primary", disabled: parts.length === 0, onclick: () => this.start() }, "Start challenge")];
    this.banner.replaceChildren(element("div", { class: `panel state-banner ${kind}` },
      element("div", { class: "state-word" }, drawing("lock", LOCKS[kind]), element("b", {}, word)),
      element("div", { class: "state-why" }, element("p", {}, due), element("p", { class: "muted" }, sentence(standing.why))),
      element("div", { class: "tools" }, ...actions)),
      now ? element("div", { class: "panel running-challenge" },
        element("div", { class: "pair" },
          element("h2", {}, `Challenge ${now.challenge.challenge_id} is running`),
          element("span", { class: "muted" }, `${judged} of ${now.results.length} golden parts judged · started ${at(now.challenge.started_at)} by ${now.challenge.started_by}`)),
        element("p", {}, "Feed the golden parts through the line in lot ", element("a", { href: `/lots/${segment(now.challenge.lot)}`, class: "lot-name" }, now.challenge.lot), "."),
        element("p", { class: wrong ? "problem" : "to-do" }, wrong ? "A golden part was judged wrong. Feed it again, or finish: the challenge has failed then." :
          now.to_do === null ? "All golden parts are judged right. Finish the challenge." : sentence(now.to_do)),
        now.strangers.length ? element("p", { class: "problem" }, `Not golden, and fed in this lot: ${now.strangers.join(", ")}. Take these parts out.`) : null) : "");
  }

  show(parts, results, now, ended) {
    const rows = parts.map((part) => {
      const result = results.get(part.serial);
      const fits = result && result.label === part.label ? result : null;
      const picture = fits?.seq && this.pictures.get(fits.seq) ?
        element("a", { href: `/inspections/${fits.seq}` }, element("img", { src: `/api/v1/inspections/${fits.seq}/image?render=thumbnail`, alt: `Newest picture of ${part.serial}` })) :
        element("span", { class: "blank" });
      const right = fits?.right ?? null;
      return element("tr", { class: right === false ? "wrong" : "" },
        element("td", { class: "thumb" }, picture),
        element("td", {}, fits?.seq ? element("a", { class: "strong", href: `/inspections/${fits.seq}` }, part.serial) : element("span", { class: "strong" }, part.serial)),
        element("td", {}, element("span", { class: `kind ${part.label === "ok" ? "good" : "defect"}` }, part.label)),
        element("td", {}, expected(part.label)),
        element("td", {}, fits?.verdict ? badge(fits.verdict) : element("span", { class: "muted" }, "–")),
        element("td", { class: "n" }, fits?.score === null || fits?.score === undefined ? "–" : fits.score.toFixed(2)),
        element("td", { class: "n" }, fits?.attempt ?? "–"),
        element("td", { class: "ok-cell" }, right === null ? element("span", { class: "muted" }, now ? "feed it" : "–") :
          element("b", { class: right ? "right" : "not-right" }, right ? "✓ right" : "✗ wrong")),
        element("td", { class: "n" }, now ? null : element("button", { type: "button", class: "tool small", "aria-label": `Remove ${part.serial}`, onclick: () => this.remove(part) }, "Remove")));
    });
    const source = now ? "what the running challenge shows" : ended ? `as challenge ${ended.challenge_id} found` : "never fed yet";
    this.parts.replaceChildren(
      element("div", { class: "title results" }, element("h2", {}, `Golden parts (${parts.length})`),
        element("span", { class: "muted grow" }, source),
        element("button", { type: "button", class: "tool", onclick: () => this.add() }, "Add part")),
      parts.length ? element("div", { class: "panel table" }, element("table", {},
        element("thead", {}, element("tr", {}, ...["Image", "Serial", "It is", "Expected", "Got"].map((name) => element("th", {}, name)),
          element("th", { class: "n" }, "Score"), element("th", { class: "n" }, "Attempt"), element("th", {}, "Right?"), element("th", {}, element("span", { class: "unseen" }, "Remove")))),
        element("tbody", {}, ...rows))) :
        element("div", { class: "panel" }, element("p", {}, "No golden part is kept for this product. Put real parts of known truth beside the line, at least one good and one defective, and add their serials here.")));
  }

  past(items) {
    const rows = items.map((each) => {
      const right = each.results.filter((result) => result.right).length;
      const wrong = each.results.filter((result) => result.right === false).map((result) => `${result.serial} (${result.label}): ${VERDICTS[result.verdict].toLowerCase()}`);
      return element("tr", {},
        element("td", {}, each.challenge_id),
        element("td", {}, element("span", { class: `outcome ${each.state}` }, STATES[each.state])),
        element("td", { class: "time" }, at(each.started_at)),
        element("td", { class: "time" }, each.ended_at ? at(each.ended_at) : "–"),
        element("td", {}, each.started_by),
        element("td", {}, each.state === "running" ? "–" : `${right} of ${each.results.length}`, wrong.length ? element("div", { class: "wrong-list" }, wrong.join("; ")) : null),
        element("td", {}, element("a", { href: `/lots/${segment(each.lot)}` }, each.lot)));
    });
    this.history.replaceChildren(
      element("div", { class: "title results" }, element("h2", {}, "Challenges")),
      items.length ? element("div", { class: "panel table" }, element("table", {},
        element("thead", {}, element("tr", {}, ...["No.", "Outcome", "Started", "Ended", "By", "Judged right", "Lot"].map((name) => element("th", {}, name)))),
        element("tbody", {}, ...rows))) : element("div", { class: "panel" }, element("p", { class: "muted" }, "No challenge yet.")));
  }

  async act(work, done) {
    try {
      await work();
      if (done) say(done);
    } catch (error) {
      say(error.message, "problem");
    }
    await this.refresh();
  }

  async start() {
    const said = await ask("Start a challenge", element("div", { class: "fields" },
      element("p", {}, "A lot of its own is opened. Feed every golden part in it; production goes on as it stands meanwhile."),
      reason("Occasion", "shift start, changeover, new model")), "Start");
    if (said) await this.act(() => api("POST", "/challenges", { body: { ...this.query, reason: said.get("reason") } }), "Challenge started.");
  }

  async finish(now, wrong) {
    const said = await ask(wrong ? "Finish as failed" : "Finish as passed", element("div", { class: "fields" },
      element("p", {}, wrong ? "The challenge has failed: production is locked until another one is passed." : "Every golden part was judged right. Production is unlocked."),
      reason("Remark", "")), "Finish", wrong ? "danger" : "primary");
    if (!said) return;
    await this.act(async () => {
      // What counts is what was recorded when the lot was closed.
      const { state } = await api("POST", `/challenges/${now.challenge.challenge_id}/finish`, { body: { reason: said.get("reason") } });
      say(`Challenge ${STATES[state]}.`, state === "passed" ? "done" : "problem");
    });
  }

  async abandon(now) {
    const said = await ask("Abandon the challenge", element("div", { class: "fields" },
      element("p", {}, "It will count as if it had not been started; what counted before counts."), reason("Why", "")), "Abandon", "danger");
    if (said) await this.act(() => api("POST", `/challenges/${now.challenge.challenge_id}/abandon`, { body: { reason: said.get("reason") } }), "Challenge abandoned.");
  }

  async add() {
    const said = await ask("Add a golden part", element("div", { class: "fields" },
      field("Serial", element("input", { name: "serial", required: true, maxlength: 64, autocomplete: "off" })),
      field("What it is", element("input", { name: "label", required: true, maxlength: 64, value: "ok", autocomplete: "off" }), "ok for a good part, or the name of its defect")), "Add");
    if (said) await this.act(() => api("POST", "/golden-parts", { body: { ...this.query, serial: said.get("serial").trim(), label: said.get("label").trim() } }), "Golden part added.");
  }

  async remove(part) {
    const said = await ask(`Remove ${part.serial}`, element("p", {}, "It will not be asked for in the next challenge. Its inspections stay recorded."), "Remove", "danger");
    if (said) await this.act(() => api("DELETE", `/golden-parts/${segment(part.serial)}`, { query: this.query }), "Golden part removed.");
  }
});

export function field(label, input, hint) {
  return element("label", { class: "field" }, label, input, hint ? element("span", { class: "hint" }, hint) : null);
}

function reason(label, placeholder) {
  return field(label, element("input", { name: "reason", maxlength: 1000, placeholder, autocomplete: "off" }));
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + ".";
}
