// Users: make them, change what they are, lock them out and in again.
import { api, element, say, segment } from "./api.js";
import { onSubmit } from "./forms.js";

const words = (role) => role.replace("_", " ");
const time = (at) => new Date(at).toLocaleString("sv-SE");

customElements.define("station-users", class extends HTMLElement {
  connectedCallback() {
    this.rows = this.querySelector("tbody");
    this.roles = [...this.querySelector("select[name=role]").options].map((option) => option.value);
    for (const dialog of this.querySelectorAll("dialog")) {
      dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
      dialog.addEventListener("close", () => dialog.querySelector("form").reset());
    }
    const create = this.querySelector("[data-dialog=create]");
    this.querySelector("[data-open=create]").addEventListener("click", () => this.open(create));
    onSubmit(
      create.querySelector("form"),
      ({ user, role, password }) => ["POST", "/users", { body: { user: user.trim(), role, password } }],
      ({ user }) => this.done(create, `${user} can log in now.`),
    );
    this.reset = this.querySelector("[data-dialog=password]");
    onSubmit(
      this.reset.querySelector("form"),
      ({ password }) => ["POST", `/users/${segment(this.reset.dataset.user)}/password`, { body: { password } }],
      ({ user }) => this.done(this.reset, `${user} has another password.`),
    );
    this.load();
  }

  open(dialog) {
    dialog.querySelector(".problem").hidden = true;
    dialog.showModal();
  }

  done(dialog, text) {
    dialog.close();
    say(text);
    return this.load();
  }

  async load() {
    const { items } = await api("GET", "/users");
    this.rows.replaceChildren(...items.map((user) => this.row(user)));
  }

  row(user) {
    const locked = user.locked_until !== null && new Date(user.locked_until) > new Date();
    const role = element("select", { "aria-label": `Role of ${user.user}`, onchange: (event) => this.change(user, "role", { role: event.target.value }) },
      this.roles.map((each) => element("option", { value: each, selected: each === user.role }, words(each))));
    const state = user.disabled_at ? ["closed", "disabled"] : locked ? ["held", `locked until ${time(user.locked_until).slice(11, 16)}`] : user.must_change_password ? ["held", "has a first password"] : ["open", "may log in"];
    const button = (text, action) => element("button", { type: "button", class: "tool small", "aria-label": `${text} ${user.user}`, onclick: action }, text);
    return element("tr", {},
      element("td", { class: "strong" }, element("bdi", {}, user.user)), element("td", { class: "field" }, role),
      element("td", {}, element("span", { class: `state ${state[0]}` }, state[1])),
      element("td", { class: "time" }, time(user.created_at)), element("td", {}, user.created_by),
      element("td", { class: "acts" }, locked && button("Unlock", () => this.change(user, "unlock")),
        button("Set password", () => {
          this.reset.dataset.user = user.user;
          this.reset.querySelector("bdi").textContent = user.user;
          this.open(this.reset);
        }),
        user.disabled_at ? button("Enable", () => this.change(user, "enable")) : button("Disable", () => this.change(user, "disable"))));
  }

  async change({ user }, what, body) {
    const told = { role: () => `${user} is ${words(body.role)} now.`, disable: () => `${user} is logged out, and cannot log in any more.` };
    try {
      await api("POST", `/users/${segment(user)}/${what}`, { body });
      say((told[what] ?? (() => `${user} may log in again.`))());
    } catch (error) {
      say(error.message, "problem");
    }
    await this.load();
  }
});
