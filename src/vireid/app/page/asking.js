// Asking the visitor for a token.

import { $ } from "./dom.js";

/** Promise a token; `refused` where the last one was not accepted. */
export function askForToken(refused) {
  const dialog = $("asking");
  $("asking-problem").textContent = "This token was not accepted. Check it, or ask for a new one.";
  $("asking-problem").hidden = !refused;
  $("asking-token").value = "";
  // Nothing works without it, so that Escape does not close it.
  dialog.oncancel = (event) => event.preventDefault();
  if (!dialog.open) dialog.showModal();
  $("asking-token").focus();
  return new Promise((resolve) => {
    let given = false;
    // Browsers let a second Escape close it nevertheless.
    dialog.onclose = () => given || dialog.showModal();
    $("asking-form").onsubmit = (event) => {
      event.preventDefault();
      const token = $("asking-token").value.trim();
      if (!/^[\x21-\x7e]+$/.test(token)) {
        $("asking-problem").hidden = false;
        return;
      }
      given = true;
      dialog.close();
      resolve(token);
    };
  });
}
