// One's own account: another password.
import { say } from "./api.js";
import { onSubmit, same } from "./forms.js";

customElements.define("own-account", class extends HTMLElement {
  connectedCallback() {
    const form = this.querySelector("form");
    onSubmit(
      form,
      ({ password, new_password, again }) => ["POST", "/session/password", { body: { password, new_password: same(new_password, again) } }],
      () => {
        if ("mustChange" in this.dataset) return location.replace("/");
        form.reset();
        say("The password is changed. All other sessions have ended.");
      },
    );
  }
});
