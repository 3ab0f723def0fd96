// <model-actions> on the page of a model, and <roll-back> where a product's model in service is named.

import { Unsuccessful, api, element, say } from "./api.js";
import { ask } from "./dialogs.js";

const POLL_MS = 2000;
const short = (digest) => digest.slice(0, 12);

function rollBack(product, inService, present, former) {
  return ask({
    title: `Roll back to model ${short(former)}`,
    intro: [`It takes over from ${short(present)} between two parts. It needs no gate: it was in service before.`],
    fields: [{ name: "reason", label: "Why", rows: 2 }],
    action: "Roll back",
    danger: true,
    act: ({ reason }) => api("POST", "/deployments/rollback", { body: { product, reason, in_service: inService } }),
  });
}

class RollBack extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    const state = JSON.parse(this.getAttribute("state"));
    this.append(element("button", { class: "tool danger", type: "button", onclick: async () => {
      if (await rollBack(state.product, state.in_service, state.present, state.former)) location.reload();
    } }, "Roll back …"));
  }
}

// `state`: {model, product, in_service, deployed, shadow, other_shadow, waiting, problem, latest_gate, former}
class ModelActions extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    this.state = JSON.parse(this.getAttribute("state"));
    const { state } = this;
    const button = (words, act, kind = "") => element("button", { class: `tool ${kind}`, type: "button", onclick: act }, words);
    this.append(
      ...[state.deployed ? null : button("Deploy …", () => this.deploy(), "primary"),
        state.deployed && state.former ? button("Roll back …", () => this.back(), "danger") : null,
        state.deployed || state.shadow ? null : button("Start as shadow …", () => this.shadow()),
        state.shadow ? button("Stop the shadow", () => this.stop()) : null,
        state.waiting ? element("span", { class: "waiting-gate", role: "status" }, "The trainer will gate this model …") : button("Gate again", () => this.gate())].filter(Boolean),
    );
    if (state.waiting) this.poll();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
  }

  poll() {
    this.timer = setTimeout(async () => {
      try {
        const { gates } = await api("GET", `/models/${this.state.model}`);
        // What somebody is writing in a dialog must not be lost.
        if (!gates.some((gate) => gate.passed === null) && !document.querySelector("dialog[open]")) {
          location.reload();
          return;
        }
      } catch (error) {
        if (!(error instanceof Unsuccessful)) throw error;
      }
      this.poll();
    }, POLL_MS);
  }

  async deploy() {
    const { state } = this;
    const fields = [{ name: "reason", label: "Why this model", rows: 2 }];
    const intro = [state.in_service ? "It takes over from the model in service between two parts." : "No model is in service for the product; parts are judged from now on."];
    if (state.problem) {
      intro.push(element("p", { class: "form-problem" }, `This model ${state.problem}.`));
      fields.push({ name: "override", label: "Why it shall decide nevertheless", hint: "This stays in the record of the deployment.", rows: 2 });
    }
    const done = await ask({
      title: `Deploy model ${short(state.model)} for ${state.product}`,
      intro, fields, action: "Deploy",
      act: ({ reason, override }) => api("POST", "/deployments", { body: { product: state.product, model: state.model, reason, in_service: state.in_service, ...(override ? { override } : {}) } }),
    });
    if (done) location.reload();
  }

  async back() {
    const { state } = this;
    if (await rollBack(state.product, state.in_service, state.model, state.former)) location.reload();
  }

  async shadow() {
    const { state } = this;
    const done = await ask({
      title: `Let model ${short(state.model)} judge along`,
      intro: ["It judges live parts when the inspector has time, without effect on them. Where it differs is listed on this page.", ...(state.other_shadow ? [`It takes the place of ${short(state.other_shadow)}.`] : [])],
      fields: [{ name: "reason", label: "Why", rows: 2, required: false }],
      action: "Start",
      act: ({ reason }) => api("POST", "/shadows", { body: { product: state.product, model: state.model, reason } }),
    });
    if (done) location.reload();
  }

  async stop() {
    await this.attempt(() => api("POST", "/shadows/stop", { body: { product: this.state.product } }));
  }

  async gate() {
    await this.attempt(() => api("POST", `/models/${this.state.model}/gates`, { body: {} }));
  }

  async attempt(act) {
    try {
      await act();
      location.reload();
    } catch (error) {
      if (!(error instanceof Unsuccessful)) throw error;
      say(error.message, "problem");
    }
  }
}

customElements.define("roll-back", RollBack);
customElements.define("model-actions", ModelActions);
