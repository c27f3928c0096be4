// The page as a whole: what is searched, what is shown, and what every button does.

import * as adding from "./adding.js";
import { askForToken } from "./asking.js";
import { $, closable, droppable, el, facts, plural, tell, zone } from "./dom.js";
import * as forgetting from "./forgetting.js";
import { askWith, get, post } from "./net.js";
import * as opened from "./opened.js";
import { clearFilters, filters, Kept, showCameras, showGuess, showQuery, Upload } from "./query.js";
import { showEntries, showFound, showNothing } from "./results.js";

const STEP = 20;
const MOST = 200; // results of one search; the gallery itself is leafed through to its end
const REFUSED = [400, 404, 413, 415, 422]; // the pictures' own fault

let info = null;
let query = [];
let limit = STEP;
let leafed = []; // what of the gallery is on the page
let asking = null;
const past = [query];

// ---- what is asked ------------------------------------------------------------------------------

/**
 * Search, or leaf through the gallery: anew, or for `more` of the same. False where a later search
 * has overtaken this one.
 */
async function search({ more = false } = {}) {
  if (!more) leafed = [];
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  busy(true);
  try {
    if (!info) await refresh();
    await (query.length ? find(signal) : leaf(signal));
  } catch (error) {
    if (error.name === "AbortError") return false;
    busy(false);
    throw error;
  }
  $("alert").hidden = true;
  busy(false);
  return true;
}

async function find(signal) {
  const form = new FormData();
  for (const one of query) one.into(form);
  const modality = new FormData($("controls")).get("query_modality");
  if (modality) {
    form.set("query_modality", modality);
    showGuess(null);
  }
  for (const [name, value] of filters()) form.append(name, value);
  form.set("limit", limit);
  const answer = await post("api/search", form, { signal });
  showGuess(answer.query);
  const list = answer.groups.flat().sort((a, b) => a.rank - b.rank);
  const context = {
    // The server tells of uploads first.
    list, info, query: query.find((one) => one instanceof Upload) ?? query[0],
    queryModality: answer.query[0].modality, pictures: query.length,
    remark: answer.remark, room: query.length < info.limits.pictures,
  };
  const count = showFound(answer, (found) => opened.open(found, context));
  $("more").hidden = count < limit || limit >= MOST || count >= answer.considered;
  explain(count === 0);
  tell(count === 0 ? "Nothing found" : `${count} found`);
}

async function leaf(signal) {
  const list = leafed; // all cards of it share it, so that a picture opened can step to any other
  const fresh = [];
  let page = null;
  do {
    const part = [["offset", list.length + fresh.length],
      ["limit", Math.min(limit - list.length - fresh.length, MOST)]];
    page = await get(`api/entries?${new URLSearchParams([...filters(), ...part])}`, { signal });
    fresh.push(...page.entries.map((entry) => ({ entry })));
  } while (page.entries.length && list.length + fresh.length < Math.min(limit, page.total));
  showEntries(page, fresh, (one) => opened.open(one, { list, info, query: null }),
    { filtered: filters().length > 0, more: list.length > 0 });
  list.push(...fresh);
  $("more").hidden = list.length < limit || list.length >= page.total;
  explain(page.total === 0);
}

async function refresh() {
  info = await get("api/info");
  document.title = `${info.gallery} · vireid`;
  $("gallery-name").textContent = info.gallery;
  $("gallery-size").textContent = plural(info.entries, "picture");
  $("open-add").hidden = info.read_only;
  showCameras(info.cameras);
  facts($("about"), [
    ...Object.entries(info.model), ["weights", info.fingerprint],
    ["descriptor", plural(info.dimension, "number")],
    ["attention", info.attention ? "PALM"
      : `none: this network ${info.model.export ? "is an export" : "has no PALM"}`],
    ["verdicts", info.calibrated ? "calibrated" : "none: this gallery is not calibrated"],
    ["identities", info.identities ? plural(info.identities, "name") : "none named"],
  ]);
  const kept = info.pictures_kept ? " with small versions of the pictures"
    : " without the pictures";
  $("logged").textContent = `You are here as '${info.who}'. Every search, list, addition and deletion`
    + ` is written to the audit log,${kept}.`;
}

// ---- what is said -------------------------------------------------------------------------------

function busy(on) {
  $("waiting").hidden = !on;
  $("results").setAttribute("aria-busy", String(on));
  if (on) tell(query.length ? "Searching" : "Loading");
}

function explain(nothing) {
  const set = filters().length > 0;
  $("filters-count").textContent = set ? `(${filters().length})` : "";
  $("clear-filters").hidden = !set;
  if (!nothing) {
    showNothing();
  } else if (info.entries === 0) {
    const shell = el("code", {}, "vireid gallery add");
    showNothing("This gallery is empty.", info.read_only
      ? el("p", {}, "It is served read-only; pictures are added from the shell: ", shell, ".")
      : el("p", {}, "Add pictures of people with the button above, or from the shell: ", shell,
        "."));
  } else if (set) {
    const clear = el("button", { type: "button", className: "quiet" }, "Clear all filters");
    clear.addEventListener("click", () => { clearFilters(); attempt(search); });
    showNothing("No picture matches these filters.", clear);
  } else {
    showNothing("There is nothing in this gallery besides what you searched with.");
  }
}

/** Do something, and where it fails say why and offer to try again. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    fail(error, action);
  }
}

function fail(error, action) {
  const again = el("button", { type: "button", className: "quiet" }, "Try again");
  again.addEventListener("click", () => attempt(action));
  alarm(error.message, again);
}

function alarm(text, ...parts) {
  $("alert").replaceChildren(el("p", {}, text), ...parts);
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
}

// ---- what is done -------------------------------------------------------------------------------

/** Search with other pictures; where they are refused, with the former ones as before. */
async function use(pictures, { remember = true } = {}) {
  const before = query;
  query = pictures;
  limit = STEP;
  if (pictures.length === 0) $("controls").elements.query_modality.value = "";
  draw();
  try {
    if (!await search()) return;
    bringUp();
    if (remember) {
      past.splice(history.state + 1, Infinity, query);
      history.pushState(past.length - 1, "");
    }
  } catch (error) {
    if (!REFUSED.includes(error.status)) {
      fail(error, search);
      return;
    }
    query = before;
    draw();
    alarm(error.message);
  }
}

function draw() {
  showQuery(query, (gone) => {
    use(query.filter((one) => one !== gone));
    $("files").focus(); // for the button that had the focus is gone
  });
}

/** Where results lie below the fold, as on a phone, go there. */
function bringUp() {
  const { top } = $("results").getBoundingClientRect();
  if (query.length && (top < 0 || top > window.innerHeight / 2)) $("results").scrollIntoView();
}

async function take(files) {
  if (!info) await refresh();
  const { megabytes, pictures } = info.limits;
  const all = [...query, ...files.map((file) => new Upload(file))];
  const size = all.reduce((sum, one) => sum + (one.file?.size ?? 0), 0);
  if (size > megabytes * 1e6 - 20_000) {
    alarm(`${all.length === 1 ? `'${all[0].name}' is` : "These pictures are"} too large;`
      + ` at most ${megabytes} MB are taken at once. Cut the person out, or make it smaller.`);
  } else if (all.length > pictures) {
    alarm(`At most ${pictures} pictures can be searched with at once.`);
  } else if (files.length) {
    await use(all);
  }
}

function wire() {
  let typing = null; // a text filter that was changed and not yet searched with
  const again = () => {
    clearTimeout(typing);
    typing = null;
    limit = STEP;
    attempt(search);
  };
  const given = (files) => attempt(() => take(files));
  for (const where of document.querySelectorAll(".zone")) {
    where.textContent = `Times are in your time zone, ${zone}.`;
  }
  closable();
  askWith(askForToken);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("change", (event) => {
    if (event.target.id === "files") {
      given([...event.target.files]);
      event.target.value = ""; // so that the same file can be chosen again
    } else if (event.target.type !== "text" || typing !== null) {
      again();
    }
  });
  $("controls").addEventListener("input", (event) => {
    if (event.target.type !== "text") return;
    clearTimeout(typing);
    typing = setTimeout(again, 400);
  });
  droppable(document.body, $("drop"), given);
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    given([...event.clipboardData.files]);
  });
  adding.wire(() => info.limits, () => attempt(renew));
  $("clear-query").addEventListener("click", () => { use([]); $("files").focus(); });
  $("clear-filters").addEventListener("click", () => {
    clearFilters();
    attempt(search);
    $("filters").querySelector("summary").focus();
  });
  $("more").addEventListener("click", () => {
    limit += STEP;
    attempt(() => search({ more: true }));
  });
  opened.wire({
    search: (entry) => { use([new Kept(entry)]); $("results").focus(); },
    join: (entry) => use([...query, new Kept(entry)]),
    forget: forgetting.forget,
  });
  forgetting.wire((count, entry, all) => {
    $("opened").close();
    const gone = (one) => one instanceof Kept
      && (one.id === entry.id || (all && one.identity === entry.identity));
    query = query.filter((one) => !gone(one));
    draw();
    attempt(renew);
    tell(`${plural(count, "picture")} forgotten`);
    $("results").focus();
  });
  window.addEventListener("popstate", () => use(past[history.state] ?? [], { remember: false }));
  $("filters").open = window.matchMedia("(min-width: 54rem)").matches;
}

async function renew() {
  busy(true);
  try {
    await refresh();
  } finally {
    busy(false);
  }
  await search();
}

wire();
draw();
history.replaceState(0, "");
attempt(renew);
