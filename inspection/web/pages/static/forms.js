// Forms that send one request: the button rests meanwhile, and a problem stands in the form.
import { api } from "./api.js";

// `request` gives the arguments of api() from the form's fields, or throws an Error to be shown; `done` gets the answer.
export function onSubmit(form, request, done) {
  const problem = form.querySelector(".problem");
  const button = form.querySelector("button:not([type=button])");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    button.disabled = true;
    try {
      await done(await api(...request(Object.fromEntries(new FormData(form)))));
    } catch (error) {
      problem.textContent = error.message[0].toUpperCase() + error.message.slice(1);
      problem.hidden = false;
      form.querySelector("input[type=password]")?.select();
    } finally {
      button.disabled = false;
    }
  });
}

// The two fields of a new password hold the same.
export function same(password, again) {
  if (password !== again) throw new Error("The two new passwords differ. Type them again.");
  return password;
}
