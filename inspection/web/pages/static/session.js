// Log out, and notice when the session has ended.
import { api } from "./api.js";

const LOOK_MS = 60_000;

document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-action=log-out]")) {
    await api("DELETE", "/session");
    location.assign("/login");
  }
});

// The live page asks for nothing by itself that would tell it.
if (document.querySelector("login-form, first-start") === null) {
  setInterval(() => api("GET", "/session").catch(() => {}), LOOK_MS);
}
