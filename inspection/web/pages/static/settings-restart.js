// Restart the station, so that what the file says takes effect; the page waits until the station is there again.
import { Unsuccessful, api, element } from "./api.js";
import { ask, field } from "./golden.js";

const LOOK_MS = 500;
const LONG_MS = 120_000;

// Resolves when the person left it; what the station refuses is thrown. When the station is back, the page is loaded anew.
export async function restart(startedAt, waiting) {
  const said = await ask("Restart the station", element("div", { class: "fields" },
    element("p", {}, waiting ? "All processes stop and start with what the file says now." : "All processes stop and start again. No setting is waiting."),
    element("p", {}, "Until the station inspects again, every part is rejected: some ten seconds."),
    field("Why", element("input", { name: "reason", required: true, maxlength: 1000, autocomplete: "off" }))), "Restart");
  if (!said) return;
  const body = { reason: said.get("reason") };
  try {
    await api("POST", "/settings/restart", { body });
  } catch (error) {
    if (!(error instanceof Unsuccessful) || error.code !== "in_production") throw error;
    if (!(await ask("Lots are in production", element("p", {}, sentence(error.message)), "Restart all the same", "danger"))) return;
    await api("POST", "/settings/restart", { body: { ...body, in_production: true } });
  }
  await backAgain(startedAt);
}

async function backAgain(startedAt) {
  const dialog = element("dialog", { "aria-label": "The station restarts" }, element("h2", {}, "The station restarts"),
    element("p", { role: "status" }, "This page goes on by itself when it is there again."));
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  const until = Date.now() + LONG_MS;
  while (Date.now() < until) {
    await new Promise((done) => setTimeout(done, LOOK_MS));
    const now = await api("GET", "/settings").catch(() => null);
    if (now !== null && now.started_at !== startedAt) return location.reload();
  }
  dialog.remove();
  throw new Error("The station has not come back. Look at the machine: the logs of its processes say why.");
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
