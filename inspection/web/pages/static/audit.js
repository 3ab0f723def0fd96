// The audit trail: filtered, paged, and verified.
import { api, element, say } from "./api.js";

const PAGE = 100;
// So many are verified when the page is opened.
const AT_ONCE = 5000;
const time = (at) => new Date(at).toLocaleString("sv-SE");

customElements.define("audit-trail", class extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.rows = this.querySelector("tbody");
    this.chain = this.querySelector(".chain");
    this.all = this.querySelector("[data-verify]");
    this.newest = this.querySelector("[data-newest]");
    this.older = this.querySelector("[data-older]");
    for (const [name, value] of new URLSearchParams(location.search)) {
      const field = this.form.elements[name];
      if (field) field.type === "checkbox" ? (field.checked = true) : (field.value = value);
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load(null);
    });
    this.form.elements.refused.addEventListener("change", () => this.load(null));
    this.newest.addEventListener("click", (event) => this.turn(event, null));
    this.older.addEventListener("click", (event) => this.turn(event, this.before));
    this.all.addEventListener("click", () => this.verify(0));
    this.load(null).then((items) => this.verify(Math.max(0, (items[0]?.audit_id ?? 0) - AT_ONCE)));
  }

  query() {
    const { by, action, since, until, refused } = this.form.elements;
    const moment = (field) => (field.value ? new Date(field.value).toISOString() : null);
    return { by: by.value.trim(), action: action.value.trim(), since: moment(since), until: moment(until), refused: refused.checked || null };
  }

  turn(event, before) {
    event.preventDefault();
    return this.load(before);
  }

  async load(before) {
    const query = this.query();
    const csv = new URL("/api/v1/audit-entries/entries.csv", location.origin);
    for (const [name, value] of Object.entries(query)) if (value) csv.searchParams.set(name, value);
    this.querySelector("[data-csv]").href = csv;
    try {
      const { items, next_before } = await api("GET", "/audit-entries", { query: { ...query, before, limit: PAGE } });
      this.before = next_before;
      this.older.hidden = next_before === null;
      this.newest.hidden = before === null;
      this.show(items);
      return items;
    } catch (error) {
      say(error.message, "problem");
      return [];
    }
  }

  // What was asked and what came of it are two entries, and one row where both are at hand.
  show(items) {
    const asked = new Map(items.filter((entry) => entry.outcome === "asked").map((entry) => [entry.audit_id, entry]));
    const rows = items.map((entry) => [entry, asked.get(parsed(entry.detail)?.asked)]);
    const answered = new Set(rows.map(([, before]) => before?.audit_id));
    const shown = rows.filter(([entry]) => !answered.has(entry.audit_id));
    this.rows.replaceChildren(...shown.map(([entry, before]) => this.row(entry, before)));
    if (!shown.length) this.rows.append(element("tr", {}, element("td", { colspan: 7, class: "muted" }, "No such entry.")));
  }

  row(entry, before) {
    const refused = /^[45]/.test(entry.outcome);
    const detail = before?.detail ?? entry.detail;
    const told = detail && detail !== "{}" && parsed(detail)?.asked === undefined;
    const about = [element("bdi", {}, entry.subject || "–")];
    return element("tr", { class: refused ? "refused" : null },
      element("td", { class: "n muted" }, before ? `${before.audit_id}, ${entry.audit_id}` : entry.audit_id),
      element("td", { class: "time" }, time(entry.at)),
      element("td", {}, element("bdi", { class: "strong" }, entry.by), element("span", { class: "muted role" }, entry.role.replace("_", " "))),
      element("td", { class: "action" }, words(entry.action)),
      element("td", { class: "about" }, told ? element("details", {}, element("summary", {}, about), element("code", {}, detail)) : about),
      element("td", { class: "outcome" }, outcome(entry)),
      element("td", { class: "muted" }, entry.client));
  }

  async verify(after) {
    this.chain.className = "chain muted";
    this.chain.textContent = "verifying the chain …";
    try {
      const { entries, last, problem } = await api("GET", "/audit-entries/verification", { query: { after } });
      this.chain.className = problem ? "chain bad" : "chain good";
      const from = after ? ` from entry ${after + 1}` : "";
      this.chain.textContent = problem ? `Chain broken: ${problem}` : entries ? `Chain verified${from} up to entry ${last}` : "No entry yet";
      this.all.hidden = !after;
    } catch (error) {
      this.chain.textContent = error.message;
    }
  }
});

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const ACTIONS = {
  "POST /session": "log in", "DELETE /session": "log out", "POST /session/confirm": "confirm password", "POST /session/password": "change password",
};
const words = (action) => (action in ACTIONS ? element("span", { title: action }, ACTIONS[action]) : element("code", {}, action));

function outcome({ outcome, action }) {
  if (outcome === "asked") return action === "POST /triggers" ? "passed on" : element("span", { class: "open" }, "asked");
  const [status, code] = outcome.split(" ");
  if (code) return [`${code.replaceAll("_", " ")} `, element("span", { class: "muted" }, status)];
  return /^2/.test(status) ? ["done ", element("span", { class: "muted" }, status)] : outcome;
}
