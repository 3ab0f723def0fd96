// What pages ask of the REST interface: JSON out and in; every problem (RFC 9457) becomes an Unsuccessful with its code and detail.
// Whoever is not logged in any more is led to the login and back; where a password is asked for again, it is, and the request goes on.

export class Unsuccessful extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.problem = problem;
  }
}

// `path` below /api/v1, such as `/inspections/7/labels`; `query` is left out where a value is null or "".
export async function api(method, path, { body, query, signal } = {}) {
  const address = new URL("/api/v1" + path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") address.searchParams.append(name, each);
    }
  }
  const asked = { method, signal, headers: { accept: "application/json" } };
  // A page that asks by itself keeps nobody logged in.
  if (Date.now() - touched > 60_000) asked.headers["station-unattended"] = "1";
  if (body !== undefined) {
    asked.body = JSON.stringify(body);
    asked.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(address, asked);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unsuccessful(0, { code: "unreachable", detail: "The station does not answer. Look at the network and try again." });
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => null);
  if (answer.ok) return content;
  const problem = new Unsuccessful(answer.status, content ?? { code: "unreadable", detail: `The station answered ${answer.status}.` });
  if (problem.code === "not_logged_in") return toLogin();
  if (problem.code === "password_change_needed") return toAccount();
  if (problem.code === "password_needed") {
    // One dialog, whatever else is asked for meanwhile.
    confirming ??= confirmed().finally(() => (confirming = null));
    if (await confirming) return api(method, path, { body, query, signal });
  }
  throw problem;
}

let touched = Date.now();
for (const kind of ["pointerdown", "pointermove", "keydown", "wheel"]) {
  addEventListener(kind, () => (touched = Date.now()), { passive: true, capture: true });
}

// The page goes away: what waits for the answer waits for ever.
function toLogin() {
  location.assign(`/login?expired=1&next=${encodeURIComponent(location.pathname + location.search)}`);
  return new Promise(() => {});
}

// Somebody gave the user another password while the page was open.
function toAccount() {
  location.assign("/account");
  return new Promise(() => {});
}

let confirming = null;

// Ask for the password in a dialog; false if the person does not want to.
function confirmed() {
  const password = element("input", { type: "password", autocomplete: "current-password", required: true, maxlength: 256, "aria-label": "Password" });
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const again = element("button", { class: "tool primary" }, "Go on");
  const form = element("form", { method: "dialog" },
    element("h2", { id: "confirm-title" }, "Your password, once more"),
    element("p", { class: "muted" }, "This cannot easily be undone, so the station makes sure that it is you. It does not ask again for five minutes."),
    element("label", { class: "field" }, "Password ", password), problem,
    element("div", { class: "actions" }, element("button", { type: "button", class: "tool", onclick: () => dialog.close() }, "Cancel"), again));
  const dialog = element("dialog", { "aria-labelledby": "confirm-title" }, form);
  return new Promise((done) => {
    let right = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      again.disabled = true;
      try {
        await api("POST", "/session/confirm", { body: { password: password.value } });
        right = true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
        password.select();
      } finally {
        again.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(right);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A name as a segment of a path: lots and serials may hold slashes.
export const segment = (name) => encodeURIComponent(name);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// An element with attributes and children; strings become text, never markup.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// A short message at the foot of the page; `kind` is "done" or "problem".
export function say(text, kind = "done") {
  let place = document.getElementById("messages");
  if (!place) {
    place = element("div", { id: "messages", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  const message = element("div", { class: `message ${kind}` }, text);
  place.append(message);
  setTimeout(() => message.remove(), kind === "problem" ? 9000 : 4000);
}
