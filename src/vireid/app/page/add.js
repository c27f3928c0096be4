// The dialog that adds images, in small batches, to show progress and to lose little on failure.

import { $, droppable, el, plural, zoned } from "./dom.js";
import { post } from "./api.js";

let files = [];
let running = false;
let stopped = false;

/** `limits()` returns the server's limits; `done` is called after images may have been added. */
export function wire(limits, done) {
  const dialog = $("adding");
  $("open-add").addEventListener("click", () => {
    reset();
    dialog.showModal();
  });
  $("adding-files").addEventListener("change", () => choose([...$("adding-files").files]));
  droppable(dialog, dialog.querySelector(".drop"), (dropped) => !running && choose(dropped));
  dialog.addEventListener("close", () => { stopped = true; });
  $("adding-close").addEventListener("click", () => {
    if (running) stopped = true;
    else dialog.close();
  });
  $("adding-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running || files.length === 0) return;
    const fields = new FormData($("adding-form")); // before the fields are disabled and therefore missing
    setRunning(true);
    await add(fields, limits());
    setRunning(false);
    done();
  });
}

/** Lock the form during the upload. */
function setRunning(on) {
  running = on;
  $("adding-what").disabled = on;
  $("adding-close").textContent = on ? "Stop" : "Close";
}

function reset() {
  if (running) return;
  choose([]);
  $("adding-form").reset();
  $("adding-progress").hidden = true;
}

function choose(chosen) {
  files = chosen;
  $("adding-chosen").textContent = files.length
    ? `${plural(files.length, "image")} chosen` : "or drop them here. Use crops of one person each.";
  $("adding-start").disabled = files.length === 0;
  $("adding-start").textContent = files.length ? `Add ${plural(files.length, "image")}` : "Add";
}

/** The next files that fit into one request. */
function batchOf(limits) {
  const most = limits.megabytes * 1e6 - 20_000;
  const batch = [];
  let size = 0;
  for (const file of files.slice(0, limits.images)) {
    size += file.size + 500;
    if (batch.length && size > most) break;
    batch.push(file);
  }
  return batch;
}

async function add(fields, limits) {
  stopped = false;
  const counts = { new: 0, known: 0, refused: 0 };
  const total = files.length;
  $("adding-progress").hidden = false;
  $("adding-refused").replaceChildren();
  $("adding-bar").max = total;
  $("adding-bar").value = 0;
  $("adding-start").disabled = true;
  while (files.length && !stopped) {
    report(counts, total, "Adding");
    const batch = batchOf(limits);
    try {
      for (const outcome of await send(batch, fields)) {
        counts[outcome.status] += 1;
        if (outcome.status === "refused") {
          $("adding-refused").append(el("li", {}, outcome.detail));
        }
      }
    } catch (error) {
      if (error.status !== 413) {
        report(counts, total, `${error.message} So far`);
        $("adding-start").disabled = false;
        $("adding-start").textContent = `Retry the remaining ${files.length}`;
        return;
      }
      counts.refused += batch.length;
      for (const file of batch) {
        $("adding-refused").append(el("li", {}, `'${file.name}': ${error.message}`));
      }
    }
    files = files.slice(batch.length);
    $("adding-bar").value = total - files.length;
  }
  report(counts, total, files.length ? "Stopped" : "Done");
  choose(files);
}

async function send(batch, fields) {
  const form = new FormData();
  for (const file of batch) form.append("images", file);
  for (const name of ["modality", "camera", "identity", "note"]) {
    if (fields.get(name).trim()) form.set(name, fields.get(name).trim());
  }
  if (zoned(fields.get("time"))) form.set("time", zoned(fields.get("time")));
  return post("api/entries", form);
}

function report(counts, total, word) {
  const parts = [`${counts.new} of ${total} added`];
  if (counts.known) parts.push(`${counts.known} already known`);
  if (counts.refused) parts.push(`${counts.refused} refused`);
  $("adding-text").textContent = `${word}: ${parts.join(", ")}.`;
  $("adding-close").scrollIntoView({ block: "nearest" }); // it may be below the fold on a phone
}
