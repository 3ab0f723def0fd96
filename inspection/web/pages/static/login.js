// The login, and the first start, which makes the administrator and logs in.
import { api } from "./api.js";
import { onSubmit, same } from "./forms.js";

customElements.define("login-form", class extends HTMLElement {
  connectedCallback() {
    const after = this.dataset.after;
    onSubmit(
      this.querySelector("form"),
      ({ user, password }) => ["POST", "/session", { body: { user: user.trim(), password } }],
      () => location.replace(after),
    );
    // Whoever follows a link from another site is not known until a page of this one asks.
    fetch("/api/v1/session").then((answer) => answer.ok && location.replace(after));
  }
});

customElements.define("first-start", class extends HTMLElement {
  connectedCallback() {
    let shown;
    onSubmit(
      this.querySelector("form"),
      ({ user, password, again }) => {
        shown = { user: user.trim(), password: same(password, again) };
        return ["POST", "/users", { body: { ...shown, role: "admin" } }];
      },
      async () => {
        await api("POST", "/session", { body: shown });
        location.replace("/");
      },
    );
  }
});
