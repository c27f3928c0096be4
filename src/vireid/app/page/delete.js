// The dialog that deletes entries, after listing exactly what is deleted.

import { $, plural } from "./dom.js";
import { get, post } from "./api.js";

let entry = null;
let counts = null;

/** `done(count, entry, all)` is called after entries are deleted. */
export function wire(done) {
  const form = $("deleting-form");
  form.addEventListener("change", describe);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    $("deleting-do").disabled = true;
    // The dialog may be closed, and opened for another image, while the server deletes.
    const of = entry;
    const all = chosen() === "identity";
    const which = all ? { identity: [of.identity] } : { ids: [of.id] };
    try {
      const answer = await post("api/delete", { ...which, expected: counts[chosen()] });
      if (of === entry) $("deleting").close();
      done(answer.deleted, of, all);
    } catch (error) {
      if (of === entry) {
        showProblem(error.message);
        await count().catch(() => {});
      }
    }
    if (of === entry) $("deleting-do").disabled = false;
  });
}

export async function confirmDelete(of) {
  entry = of;
  counts = { one: 1, identity: 0 };
  $("deleting-form").reset();
  $("deleting-all").hidden = true;
  showProblem("");
  $("deleting-do").disabled = false;
  describe();
  $("deleting").showModal();
  await count().catch((error) => { if (of === entry) showProblem(error.message); });
}

function chosen() {
  return new FormData($("deleting-form")).get("what");
}

async function count() {
  const of = entry;
  if (of.identity === "") return;
  const query = new URLSearchParams({ identity: of.identity, limit: "0" });
  const { total } = await get(`api/entries?${query}`);
  if (of !== entry) return;
  counts.identity = total;
  $("deleting-all").hidden = counts.identity < 2;
  $("deleting-all").querySelector("span").textContent =
    `all ${plural(counts.identity, "image")} of identity ${entry.identity}`;
  describe();
}

function describe() {
  const number = counts[chosen()];
  const what = chosen() === "one" ? `'${entry.name}'`
    : `${plural(number, "image")} of identity ${entry.identity}`;
  $("deleting-text").textContent = `The feature, the thumbnail and the metadata of ${what}`
    + " will be deleted from this gallery. This cannot be undone. Files outside the gallery are"
    + " not affected.";
  $("deleting-do").textContent = `Delete ${plural(number, "image")}`;
}

function showProblem(text) {
  $("deleting-problem").textContent = text;
  $("deleting-problem").hidden = text === "";
}
