// Adding pictures: a few at a time, so that progress is seen and a failure loses little.

import { $, droppable, el, plural, zoned } from "./dom.js";
import { post } from "./net.js";

let files = [];
let running = false;
let stopped = false;

/** `limits()` are those that the server tells; `done` is called when something may be new. */
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
    const told = new FormData($("adding-form")); // a disabled field would not be in it
    run(true);
    await add(told, limits());
    run(false);
    done();
  });
}

/** While pictures are sent, nothing of what is sent can be changed. */
function run(on) {
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
    ? `${plural(files.length, "picture")} chosen` : "or drop them here. Crops of one person each.";
  $("adding-start").disabled = files.length === 0;
  $("adding-start").textContent = files.length ? `Add ${plural(files.length, "picture")}` : "Add";
}

/** The next few files that fit one request. */
function batchOf(limits) {
  const most = limits.megabytes * 1e6 - 20_000;
  const batch = [];
  let size = 0;
  for (const file of files.slice(0, limits.pictures)) {
    size += file.size + 500;
    if (batch.length && size > most) break;
    batch.push(file);
  }
  return batch;
}

async function add(told, limits) {
  stopped = false;
  const counts = { new: 0, known: 0, refused: 0 };
  const total = files.length;
  $("adding-progress").hidden = false;
  $("adding-refused").replaceChildren();
  $("adding-bar").max = total;
  $("adding-bar").value = 0;
  $("adding-start").disabled = true;
  while (files.length && !stopped) {
    say(counts, total, "Adding");
    const batch = batchOf(limits);
    try {
      for (const outcome of await send(batch, told)) {
        counts[outcome.status] += 1;
        if (outcome.status === "refused") {
          $("adding-refused").append(el("li", {}, outcome.detail));
        }
      }
    } catch (error) {
      if (error.status !== 413) {
        say(counts, total, `${error.message} So far`);
        $("adding-start").disabled = false;
        $("adding-start").textContent = `Try the other ${files.length} again`;
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
  say(counts, total, files.length ? "Stopped" : "Done");
  choose(files);
}

async function send(batch, told) {
  const form = new FormData();
  for (const file of batch) form.append("images", file);
  for (const name of ["modality", "camera", "identity", "note"]) {
    if (told.get(name).trim()) form.set(name, told.get(name).trim());
  }
  if (zoned(told.get("time"))) form.set("time", zoned(told.get("time")));
  return post("api/entries", form);
}

function say(counts, total, word) {
  const parts = [`${counts.new} of ${total} added`];
  if (counts.known) parts.push(`${counts.known} known already`);
  if (counts.refused) parts.push(`${counts.refused} refused`);
  $("adding-text").textContent = `${word}: ${parts.join(", ")}.`;
  $("adding-close").scrollIntoView({ block: "nearest" }); // below the fold of a phone
}
