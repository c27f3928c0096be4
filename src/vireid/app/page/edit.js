// The dialog that changes what is known of an image, or of all images of its tracklet.

import { $, camera, el, localTime, plural, zoned } from "./dom.js";
import { get, patch } from "./api.js";

const FIELDS = ["camera", "time", "identity", "note"];

let entry = null;
let before = null; // the values of the fields when the dialog was opened
let members = []; // the entries of the tracklet, this one first

/** `done(entries)` is called with the changed entries. */
export function wire(done) {
  const form = $("editing-form");
  form.addEventListener("change", describe);
  form.addEventListener("input", (event) => setFault(event.target, null));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = changes();
    const which = chosen() === "tracklet" ? members : [entry];
    if (Object.keys(given).length === 0) {
      $("editing").close();
      return;
    }
    showFaults("");
    $("editing-do").disabled = true;
    const changed = [];
    try {
      for (const one of which) {
        $("editing-do").textContent = which.length === 1 ? "Saving…"
          : `Saving ${changed.length + 1} of ${which.length}…`;
        changed.push(await patch(`api/entries/${one.id}`, valuesFor(one, given)));
      }
      $("editing").close();
    } catch (error) {
      showFaults(error.message, changed.length
        ? `${changed.length} of ${which.length} images are changed. ` : "");
    }
    $("editing-do").disabled = false;
    describe();
    if (changed.length) done(changed);
  });
}

export async function edit(of) {
  entry = of;
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
  describe();
  $("editing").showModal();
  if (entry.tracklet !== "") await list().catch((error) => showFaults(error.message));
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

/** The new values of one entry; the times of a tracklet move together. */
function valuesFor(one, given) {
  if (!given.time || one === entry || entry.time === null) return given;
  const { time, ...others } = given;
  if (one.time === null) return others;
  const moved = Date.parse(one.time) + Date.parse(time) - Date.parse(entry.time);
  return { ...others, time: new Date(moved).toISOString() };
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
