// The dialog with one image of the gallery, next to the query if there is one.

import { AttentionOverlay } from "./attention.js";
import { $, announce, camera, el, facts, when } from "./dom.js";
import { imageUrl, post } from "./api.js";
import * as cases from "./cases.js";
import { score, verdict } from "./results.js";

let at = 0;
let shown = null; // from app.js: list, info, query and remark
let overlay = null;
let run = 0;

/** `act`: {search, join, edit, remove}, each called with the open entry. */
export function wire(act) {
  const canvas = (side) => $(`${side}-figure`).querySelector("canvas");
  overlay = new AttentionOverlay([
    { canvas: canvas("query"), image: $("query-image"), name: "the query" },
    { canvas: canvas("result"), image: $("result-image"), name: "the result" },
  ], report);
  const entry = () => shown.list[at].entry;
  $("previous").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  $("search-this").addEventListener("click", () => { $("detail").close(); act.search(entry()); });
  $("search-tracklet").addEventListener("click", () => {
    $("detail").close();
    act.search(entry(), { tracklet: true });
  });
  $("join-this").addEventListener("click", () => { $("detail").close(); act.join(entry()); });
  $("case-this").addEventListener("click", () => cases.add(shown.list[at]));
  $("edit-this").addEventListener("click", () => act.edit(entry()));
  $("delete-this").addEventListener("click", () => act.remove(entry()));
  $("attention-on").addEventListener("change", attend);
  $("detail").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    // In the images the arrow keys select a position.
    if (by && shown.list[at + by] && !event.target.matches("canvas, input")) move(by);
  });
}

/** Open one of a list of results; `query` is null while the gallery is browsed. */
export function open(found, context) {
  shown = context;
  at = shown.list.indexOf(found);
  $("edit-this").hidden = shown.info.read_only;
  $("delete-this").hidden = shown.info.read_only;
  $("join-this").hidden = shown.query === null || !shown.room;
  $("query-figure").hidden = shown.query === null;
  $("pair").classList.toggle("alone", shown.query === null);
  $("attention").hidden = shown.query === null;
  $("query-figure").querySelector("figcaption").textContent =
    shown.images > 1 ? `Query (first of ${shown.images})` : "Query";
  $("detail").showModal();
  show();
}

/** Show the new metadata of entries that were edited. */
export function renew(entries) {
  const news = new Map(entries.map((one) => [one.id, one]));
  for (const { entry } of shown.list) Object.assign(entry, news.get(entry.id));
  showFacts();
}

function move(by) {
  at += by;
  show();
  announce($("detail-title").textContent);
}

async function show() {
  const { rank, score: value, verdict: verdictText, entry } = shown.list[at];
  run += 1;
  const mine = run;
  overlay.hide();
  $("attention-text").textContent = "";
  allow($("previous"), at > 0, $("next"));
  allow($("next"), at < shown.list.length - 1, $("previous"));
  $("search-tracklet").hidden = entry.tracklet === "";
  showCase();
  $("detail-title").textContent = titleOf(shown.list[at]);
  $("detail-score").replaceChildren(...rank === undefined ? [] : [
    el("span", { className: "pale small" }, "Score (cosine similarity, −1 to 1)"),
    el("strong", {}, score(value)),
    verdictText === null ? el("span", { className: "pale small" }, shown.remark) : verdict(verdictText),
  ]);
  showFacts();
  $("result-image").alt = entry.name;
  $("result-image").removeAttribute("src");
  const images = [load($("result-image"), imageUrl(entry.id, { full: true }))];
  if (shown.query) images.push(load($("query-image"), shown.query.url()));
  try {
    await Promise.all(images);
  } catch (error) {
    if (mine === run) $("attention-text").textContent = error.message;
    return;
  }
  if (mine === run && shown.query) attend();
}

/** The number of an image in the list, or that of its result, which may be a tracklet. */
function titleOf(found) {
  if (found.rank === undefined) return `Image ${at + 1} of ${shown.list.length}`;
  // Chosen and rejected results of a case are numbered apart.
  const results = shown.list.filter((one) => one.rank !== undefined
    && one.decision === found.decision);
  const own = results.filter((one) => one.rank === found.rank);
  const which = own.length > 1 ? `, image ${own.indexOf(found) + 1} of ${own.length}` : "";
  return `Result ${found.rank} of ${results.at(-1).rank}${which}`;
}

/** Offer to add the image to a case. */
export function showCase() {
  if (shown === null) return;
  const text = cases.label(shown.list[at]);
  $("case-this").textContent = text;
  $("case-this").hidden = text === "";
}

function showFacts() {
  const { entry } = shown.list[at];
  facts($("detail-facts"), [
    ["Camera", camera(entry)], ["Taken", entry.time && when(entry.time, { named: true })],
    ["Modality", entry.modality], ["Identity", entry.identity], ["Tracklet", entry.tracklet],
    ["Note", entry.note],
    ["File name", entry.name], ["Added", when(entry.added, { named: true })],
  ]);
}

/** Enable or disable a button without losing the focus. */
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
    throw new Error("Image not available; it may have been deleted.");
  });
}

async function attend() {
  $("attention-switch").hidden = !shown.info.attention;
  if (!shown.info.attention) {
    $("attention-text").textContent = shown.info.model.export
      ? "An export has no attention to show; serve the run instead."
      : "This model has no PALM, so there is no attention to show.";
    return;
  }
  overlay.hide();
  if (!$("attention-on").checked) {
    $("attention-text").textContent = "";
    return;
  }
  const mine = run;
  const form = new FormData();
  shown.query.into(form, "image");
  if (shown.queryModality) form.set("query_modality", shown.queryModality);
  form.set("result", shown.list[at].entry.id);
  $("attention-text").textContent = "Computing attention…";
  try {
    const answer = await post("api/attention", form);
    if (mine !== run || !$("attention-on").checked) return;
    shown.sources = answer;
    overlay.show([answer.query, answer.result]);
  } catch (error) {
    if (mine === run) $("attention-text").textContent = error.message;
  }
}

function report({ row, column }, { height, width }, [query, result]) {
  const small = ["query", "result"].filter((side) => shown.sources[side].source === "thumbnail")
    .map((side) => (side === "query" ? "the query" : "the result"));
  const note = small.length
    ? ` Computed from the thumbnail of ${small.join(" and ")}, as the file is missing or changed.` : "";
  $("attention-text").textContent = `Row ${row + 1} of ${height}, column ${column + 1} of ${width}:`
    + " each image shows the attention of this position. Peak attention relative to uniform:"
    + ` ${query.toFixed(1)} in the query, ${result.toFixed(1)} in the result.`
    + ` Select a position with a click, a tap or the arrow keys.${note}`;
}
