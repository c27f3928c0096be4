// Forgetting, after saying exactly what goes.

import { $, plural } from "./dom.js";
import { get, post } from "./net.js";

let entry = null;
let counts = null;

/** `done(count, entry, all)` is called when entries are gone. */
export function wire(done) {
  const form = $("forgetting-form");
  form.addEventListener("change", say);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    $("forgetting-do").disabled = true;
    const all = chosen() === "identity";
    const which = all ? { identity: [entry.identity] } : { ids: [entry.id] };
    try {
      const answer = await post("api/forget", { ...which, expected: counts[chosen()] });
      $("forgetting").close();
      done(answer.forgotten, entry, all);
    } catch (error) {
      problem(error.message);
      await count().catch(() => {});
    }
    $("forgetting-do").disabled = false;
  });
}

export async function forget(of) {
  entry = of;
  counts = { one: 1, identity: 0 };
  $("forgetting-form").reset();
  $("forgetting-all").hidden = true;
  problem("");
  say();
  $("forgetting").showModal();
  await count().catch((error) => problem(error.message));
}

function chosen() {
  return new FormData($("forgetting-form")).get("what");
}

async function count() {
  if (entry.identity === "") return;
  const query = new URLSearchParams({ identity: entry.identity, limit: "0" });
  counts.identity = (await get(`api/entries?${query}`)).total;
  $("forgetting-all").hidden = counts.identity < 2;
  $("forgetting-all").querySelector("span").textContent =
    `all ${plural(counts.identity, "picture")} of identity ${entry.identity}`;
  say();
}

function say() {
  const number = counts[chosen()];
  const what = chosen() === "one" ? `'${entry.name}'`
    : `${plural(number, "picture")} of identity ${entry.identity}`;
  $("forgetting-text").textContent = "The descriptor, the thumbnail and all that was noted of"
    + ` ${what} are deleted from this gallery and cannot be brought back. Files outside the gallery`
    + " stay where they are.";
  $("forgetting-do").textContent = `Forget ${plural(number, "picture")}`;
}

function problem(text) {
  $("forgetting-problem").textContent = text;
  $("forgetting-problem").hidden = text === "";
}
