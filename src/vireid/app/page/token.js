// The dialog that requests an access token.

import { $ } from "./dom.js";

/** Return a promise of a token; `refused` if the last one was not accepted. */
export function requestToken(refused) {
  const dialog = $("token");
  $("token-problem").textContent = "Invalid token. Check it or request a new one.";
  $("token-problem").hidden = !refused;
  $("token-input").value = "";
  // The page does not work without a token, so Escape must not close the dialog.
  dialog.oncancel = (event) => event.preventDefault();
  if (!dialog.open) dialog.showModal();
  $("token-input").focus();
  return new Promise((resolve) => {
    let given = false;
    // Browsers close it on a second Escape nevertheless.
    dialog.onclose = () => given || dialog.showModal();
    $("token-form").onsubmit = (event) => {
      event.preventDefault();
      const token = $("token-input").value.trim();
      if (!/^[\x21-\x7e]+$/.test(token)) {
        $("token-problem").hidden = false;
        return;
      }
      given = true;
      dialog.close();
      resolve(token);
    };
  });
}
