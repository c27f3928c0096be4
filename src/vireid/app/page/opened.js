// One picture of the gallery opened, beside the query where there is one.

import { Looking } from "./attention.js";
import { $, camera, el, facts, tell, when } from "./dom.js";
import { picture, post } from "./net.js";
import { score, verdict } from "./results.js";

let at = 0;
let shown = null; // what app.js tells: list, info, query and what was said of it
let looking = null;
let run = 0;

/** `act`: {search, join, forget}, each called with the entry that is open. */
export function wire(act) {
  const canvas = (side) => $(`${side}-figure`).querySelector("canvas");
  looking = new Looking([
    { canvas: canvas("query"), image: $("query-image"), name: "the query" },
    { canvas: canvas("found"), image: $("found-image"), name: "what was found" },
  ], report);
  const entry = () => shown.list[at].entry;
  $("previous").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  $("search-this").addEventListener("click", () => { $("opened").close(); act.search(entry()); });
  $("join-this").addEventListener("click", () => { $("opened").close(); act.join(entry()); });
  $("forget-this").addEventListener("click", () => act.forget(entry()));
  $("attention-on").addEventListener("change", attend);
  $("opened").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    // In the pictures the arrow keys choose a position.
    if (by && shown.list[at + by] && !event.target.matches("canvas, input")) move(by);
  });
}

/** Open one of a list of finds; `query` is null where the gallery is leafed through. */
export function open(found, context) {
  shown = context;
  at = shown.list.indexOf(found);
  $("forget-this").hidden = shown.info.read_only;
  $("join-this").hidden = shown.query === null || !shown.room;
  $("query-figure").hidden = shown.query === null;
  $("pair").classList.toggle("alone", shown.query === null);
  $("attention").hidden = shown.query === null;
  $("query-figure").querySelector("figcaption").textContent =
    shown.pictures > 1 ? `Query (first of ${shown.pictures})` : "Query";
  $("opened").showModal();
  show();
}

function move(by) {
  at += by;
  show();
  tell($("opened-title").textContent);
}

async function show() {
  const { rank, score: value, verdict: said, entry } = shown.list[at];
  run += 1;
  const mine = run;
  looking.hide();
  $("attention-text").textContent = "";
  allow($("previous"), at > 0, $("next"));
  allow($("next"), at < shown.list.length - 1, $("previous"));
  const [thing, number] = rank === undefined ? ["Picture", at + 1] : ["Result", rank];
  $("opened-title").textContent = `${thing} ${number} of ${shown.list.length}`;
  $("opened-score").replaceChildren(...rank === undefined ? [] : [
    el("span", { className: "pale small" }, "Score (cosine, from −1 to 1)"),
    el("strong", {}, score(value)),
    said === null ? el("span", { className: "pale small" }, shown.remark) : verdict(said),
  ]);
  facts($("opened-facts"), [
    ["Camera", camera(entry)], ["Taken", entry.time && when(entry.time, { named: true })],
    ["Modality", entry.modality], ["Identity", entry.identity], ["Note", entry.note],
    ["File name", entry.name], ["Added", when(entry.added, { named: true })],
  ]);
  $("found-image").alt = entry.name;
  $("found-image").removeAttribute("src");
  const pictures = [load($("found-image"), picture(entry.id, { whole: true }))];
  if (shown.query) pictures.push(load($("query-image"), shown.query.url()));
  try {
    await Promise.all(pictures);
  } catch (error) {
    if (mine === run) $("attention-text").textContent = error.message;
    return;
  }
  if (mine === run && shown.query) attend();
}

/** Let a button be used or not; the focus is not lost with it. */
function allow(button, allowed, other) {
  if (!allowed && document.activeElement === button) {
    other.disabled = false;
    other.focus();
  }
  button.disabled = !allowed;
}

async function load(image, url) {
  image.src = await url;
  await image.decode().catch(() => {
    throw new Error("A picture cannot be shown; it may have been forgotten meanwhile.");
  });
}

async function attend() {
  $("attention-switch").hidden = !shown.info.attention;
  if (!shown.info.attention) {
    $("attention-text").textContent = shown.info.model.export
      ? "This network is an export, which keeps no attention to show; a run of it does."
      : "This network has no PALM, so there is no attention to show.";
    return;
  }
  looking.hide();
  if (!$("attention-on").checked) {
    $("attention-text").textContent = "";
    return;
  }
  const mine = run;
  const form = new FormData();
  shown.query.into(form, "image");
  if (shown.queryModality) form.set("query_modality", shown.queryModality);
  form.set("found", shown.list[at].entry.id);
  $("attention-text").textContent = "Asking the network…";
  try {
    const answer = await post("api/attention", form);
    if (mine !== run || !$("attention-on").checked) return;
    shown.sources = answer;
    looking.show([answer.query, answer.found]);
  } catch (error) {
    if (mine === run) $("attention-text").textContent = error.message;
  }
}

function report({ row, column }, { height, width }, [query, found]) {
  const small = ["query", "found"].filter((side) => shown.sources[side].source === "thumbnail")
    .map((side) => (side === "query" ? "the query's file" : "the found picture's file"));
  const note = small.length
    ? ` For want of ${small.join(" and ")}, the network looked at the thumbnail.` : "";
  $("attention-text").textContent = `Row ${row + 1} of ${height}, column ${column + 1} of ${width}:`
    + " each picture shows where its own position looks. The largest weight is"
    + ` ${query.toFixed(1)} times the uniform one in the query and ${found.toFixed(1)} times in`
    + ` what was found. Choose a position by a click, a tap or the arrow keys.${note}`;
}
