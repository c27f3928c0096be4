// The dialog that changes what is known of an image, or of all images of its tracklet.

import { $, camera, el, localTime, plural, zoned } from "./dom.js";
import { get, patch } from "./api.js";

const FIELDS = ["camera", "time", "identity", "note"];

let alarm = null;
let entry = null;
let started = null; // its time when the dialog was opened
let before = null; // the values of the fields when the dialog was opened
let members = []; // the entries of the tracklet, this one first

/** `done(entries)` is called with the changed entries, `warn` with errors of a closed dialog. */
export function wire(done, warn) {
  alarm = warn;
  const form = $("editing-form");
  form.addEventListener("change", describe);
  form.addEventListener("input", (event) => setFault(event.target, null));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = changes();
    // The dialog may be closed, and opened for another image, while it saves.
    const [of, start] = [entry, started];
    const which = chosen() === "tracklet" ? members : [of];
    const open = () => of === entry && $("editing").open;
    if (Object.keys(given).length === 0) {
      $("editing").close();
      return;
    }
    showFaults("");
    $("editing-do").disabled = true;
    const changed = [];
    try {
      for (const one of which) {
        if (open()) {
          $("editing-do").textContent = which.length === 1 ? "Saving…"
            : `Saving ${changed.length + 1} of ${which.length}…`;
        }
        const values = one === of ? given : moved(one, given, start);
        changed.push(await patch(`api/entries/${one.id}`, values));
      }
      if (open()) $("editing").close();
    } catch (error) {
      const some = changed.length ? `${changed.length} of ${which.length} images are changed. ` : "";
      if (open()) showFaults(error.message, some);
      else alarm(`Editing '${of.name}' failed: ${some}${error.message}`);
    }
    if (of === entry) {
      $("editing-do").disabled = false;
      describe();
    }
    if (changed.length) done(changed);
  });
}

export async function edit(of) {
  entry = of;
  started = entry.time;
  members = [entry];
  before = {
    camera: entry.camera, time: entry.time === null ? "" : localTime(entry.time),
    identity: entry.identity, note: entry.note,
  };
  const form = $("editing-form");
  form.reset();
  for (const name of FIELDS) form.elements[name].value = before[name];
  // The browser may write it in another form.
  before.time = form.elements.time.value;
  $("editing-what").hidden = true;
  showFaults("");
  $("editing-do").disabled = false;
  describe();
  $("editing").showModal();
  if (of.tracklet === "") return;
  await list().catch((error) => { if (of === entry) showFaults(error.message); });
}

/** Find the other entries of the tracklet; its name is unique within the camera. */
async function list() {
  const of = entry;
  const found = [];
  for (let total = 1; found.length < total;) {
    const query = new URLSearchParams({ tracklet: of.tracklet, camera: of.camera, limit: "200",
      offset: found.length });
    const page = await get(`api/entries?${query}`);
    found.push(...page.entries);
    total = page.entries.length ? page.total : 0;
  }
  if (of !== entry) return;
  members = [entry, ...found.filter((one) => one.id !== entry.id)];
  $("editing-what").hidden = members.length < 2;
  $("editing-all").textContent = `all ${plural(members.length, "image")} of its tracklet`;
}

function chosen() {
  return new FormData($("editing-form")).get("what");
}

/** The fields whose values differ from those when the dialog was opened. */
function changes() {
  const given = Object.fromEntries(FIELDS.map((name) =>
    [name, $("editing-form").elements[name].value]));
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => value !== before[name])
    .map(([name, value]) => [name, name === "time" ? zoned(value) : value.trim()]));
}

/**
 * The new values of another entry of the tracklet, whose times move together, by the difference to
 * the time when the dialog was opened: so saving again after an error moves them no further.
 */
function moved(one, given, start) {
  if (!given.time || start === null) return given;
  const { time, ...others } = given;
  if (one.time === null) return others;
  const shifted = Date.parse(one.time) + Date.parse(time) - Date.parse(start);
  return { ...others, time: new Date(shifted).toISOString() };
}

function describe() {
  const all = chosen() === "tracklet";
  const times = all && entry.time !== null
    ? " If you change the time, the other images move by the same difference." : "";
  $("editing-text").textContent = `Only what you change is saved; a blank is unknown.${times}`;
  $("editing-do").textContent = all ? `Save ${plural(members.length, "image")}` : "Save";
  $("editing-title").textContent = `Edit ${entry.name}`;
  $("editing-from").textContent = `${camera(entry)}, ${entry.modality}`;
}

/** Show what the server says at the fields that it is about, the rest below. */
function showFaults(text, first = "") {
  const rest = [];
  const faults = {};
  for (const part of text.split("; ")) {
    const [, name, , fault] = part.match(/^(camera|time|identity|note)\b(.*?): (.*)$/) ?? [];
    if (name) faults[name] ??= fault;
    else if (part) rest.push(part);
  }
  for (const name of FIELDS) setFault($("editing-form").elements[name], faults[name] ?? null);
  const invalid = FIELDS.find((name) => name in faults);
  if (invalid) $("editing-form").elements[invalid].focus();
  const shown = rest.length ? first + rest.join("; ") : invalid ? `${first}Not saved.` : "";
  $("editing-problem").textContent = shown;
  $("editing-problem").hidden = shown === "";
}

function setFault(input, text) {
  input.parentElement.querySelector(".fault")?.remove();
  input.setAttribute("aria-invalid", String(text !== null));
  if (text !== null) input.after(el("span", { className: "fault" }, text));
}
