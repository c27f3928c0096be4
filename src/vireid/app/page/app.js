// The page: the search, the results and the controls.

import * as adding from "./add.js";
import * as cases from "./cases.js";
import { download, get, post, setTokenRequest } from "./api.js";
import * as deleting from "./delete.js";
import * as detail from "./detail.js";
import * as editing from "./edit.js";
import { $, announce, closable, droppable, el, facts, plural, zone } from "./dom.js";
import * as people from "./people.js";
import {
  clearFilters, filters, GalleryEntry, modalityOf, MOST, showCameras, showDetected, showQuery,
  Upload,
} from "./query.js";
import { showEmpty, showEntries, showResults } from "./results.js";
import { showTimeline } from "./timeline.js";
import { requestToken } from "./token.js";

const STEP = 20;
const REFUSED = [400, 404, 413, 415, 422, 501]; // statuses that the images cause

let info = null;
let query = [];
let limit = STEP;
let browsed = []; // the entries on the page while the gallery is browsed
let running = null;
const past = [query];

// ---- requests ---------------------------------------------------------------------------------

/**
 * Search, or browse the gallery; `more` extends the results. Returns false if a later search
 * has replaced this one.
 */
async function search({ more = false } = {}) {
  if (!more) browsed = [];
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  busy(true);
  try {
    if (!info) await refresh();
    await (query.length ? find(signal) : browse(signal));
  } catch (error) {
    if (error.name === "AbortError") return false;
    busy(false);
    throw error;
  }
  $("alert").hidden = true;
  busy(false);
  return true;
}

/** The search that the controls describe. */
function asked() {
  const form = new FormData();
  for (const one of query) one.into(form);
  const modality = new FormData($("controls")).get("query_modality") || modalityOf(query);
  if (modality) form.set("query_modality", modality);
  for (const [name, value] of filters({ searching: true })) form.append(name, value);
  form.set("limit", limit);
  return form;
}

async function find(signal) {
  const form = asked();
  const own = modalityOf(query);
  if (form.has("query_modality")) {
    showDetected(form.get("query_modality") === own ? [{ detected: true, modality: own }] : null);
  }
  const answer = await post("api/search", form, { signal });
  if (!form.has("query_modality")) showDetected(answer.query);
  const list = answer.groups.flat();
  const context = {
    // The server lists uploads first.
    list, info, query: query.find((one) => one instanceof Upload) ?? query[0],
    queryModality: answer.query[0].modality, images: answer.query.length,
    remark: answer.remark, room: query.length < info.limits.images,
  };
  const open = (result) => detail.open(result, context);
  const count = showResults(answer, open);
  showTimeline(answer.groups, open);
  $("export").hidden = count === 0;
  $("more").hidden = answer.groups.length < limit || limit >= MOST || count >= answer.considered;
  explain(count === 0);
  announce(count === 0 ? "No results" : plural(answer.groups.length, "result"));
}

async function browse(signal) {
  $("export").hidden = true;
  $("timeline").hidden = true;
  const list = browsed; // shared by all cards, so that an open image can step to any other
  const fresh = [];
  let page = null;
  do {
    const part = [["order", "newest"], ["offset", list.length + fresh.length],
      ["limit", Math.min(limit - list.length - fresh.length, MOST)]];
    page = await get(`api/entries?${new URLSearchParams([...filters(), ...part])}`, { signal });
    fresh.push(...page.entries.map((entry) => ({ entry })));
  } while (page.entries.length && list.length + fresh.length < Math.min(limit, page.total));
  showEntries(page, fresh, (one) => detail.open(one, { list, info, query: null }),
    { filtered: filters().length > 0, more: list.length > 0 });
  list.push(...fresh);
  $("more").hidden = list.length < limit || list.length >= page.total;
  explain(page.total === 0);
}

async function refresh() {
  info = await get("api/info");
  document.title = `${info.gallery} · vireid`;
  $("gallery-name").textContent = info.gallery;
  $("gallery-size").textContent = plural(info.entries, "image");
  $("open-add").hidden = info.read_only;
  cases.offer();
  showCameras(info.cameras);
  facts($("about"), [
    ...Object.entries(info.model), ["weights", info.fingerprint],
    ["feature", `${info.dimension} dimensions`],
    ["attention", info.attention ? "PALM"
      : `none: this model ${info.model.export ? "is an export" : "has no PALM"}`],
    ["verdicts", info.calibrated ? "calibrated" : "none: this gallery is not calibrated"],
    ["identities", info.identities || "none"],
  ]);
  const images = info.audit_images ? "with thumbnails of query images" : "without images";
  $("logged").textContent = `Signed in as '${info.user}'. Every search, listing, upload, change and`
    + ` case is recorded in the audit log, ${images}.`;
}

// ---- messages ----------------------------------------------------------------------------------

function busy(on) {
  $("waiting").hidden = !on;
  $("results").setAttribute("aria-busy", String(on));
  if (on) announce(query.length ? "Searching" : "Loading");
}

function explain(nothing) {
  const set = filters().length > 0;
  $("filters-count").textContent = set ? `(${filters().length})` : "";
  $("clear-filters").hidden = !set;
  if (!nothing) {
    showEmpty();
  } else if (info.entries === 0) {
    const command = el("code", {}, "vireid gallery add");
    showEmpty("This gallery is empty.", info.read_only
      ? el("p", {}, "It is served read-only. Add images on the command line: ", command, ".")
      : el("p", {}, "Add images with the button above or on the command line: ", command, "."));
  } else if (set) {
    const clear = el("button", { type: "button", className: "quiet" }, "Clear all filters");
    clear.addEventListener("click", () => { clearFilters(); attempt(search); });
    showEmpty("No images match these filters.", clear);
  } else {
    showEmpty("The gallery contains only the query images.");
  }
}

/** Run an action; on failure show the error and offer to try again. */
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

// ---- actions -----------------------------------------------------------------------------------

/** Search with other images; if they are refused, restore the previous query. */
async function use(images, { remember = true } = {}) {
  const before = query;
  query = images;
  limit = STEP;
  if (images.length === 0) $("controls").elements.query_modality.value = "";
  draw();
  try {
    if (!await search()) return;
    scrollToResults();
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
    $("files").focus(); // the button that had the focus is removed
  });
}

/** Scroll to the results if they are below the fold, as on a phone. */
function scrollToResults() {
  const { top } = $("results").getBoundingClientRect();
  if (top < 0 || top > window.innerHeight / 2) $("results").scrollIntoView();
}

/** Add files to the query: crops as they are, of scenes and videos a person who is chosen. */
async function take(files) {
  if (!info) await refresh();
  const { megabytes, images } = info.limits;
  const size = [...query.map((one) => one.file), ...files]
    .reduce((sum, file) => sum + (file?.size ?? 0), 0);
  if (size > megabytes * 1e6 - 20_000) {
    alarm(`${query.length + files.length === 1 ? `'${files[0].name}' is` : "These files are"} too`
      + ` large; the limit is ${megabytes} MB per request. Crop to the person, reduce the size, or`
      + " cut the video.");
    return;
  }
  if (query.length + files.length > images) {
    alarm(`A query may contain at most ${images} images.`);
    return;
  }
  const all = [...query];
  busy(true);
  try {
    for (const file of files) {
      all.push(...await people.pick(file, info.limits, () => busy(false)));
    }
  } catch (error) {
    if (!REFUSED.includes(error.status)) throw error;
    alarm(error.message);
    return;
  } finally {
    busy(false);
  }
  if (all.length > query.length) await useFirst(all);
}

/** Search with the images that one request may contain, and say how many are left out. */
async function useFirst(all) {
  const { images } = info.limits;
  await use(all.slice(0, images));
  if (all.length > images) {
    alarm(`A query may contain at most ${images} images; the last ${all.length - images} of`
      + ` ${all.length} are left out.`);
  }
}

function wire() {
  let typing = null; // timer of a changed text filter that has not been applied yet
  const again = ({ scroll = false } = {}) => {
    clearTimeout(typing);
    typing = null;
    limit = STEP;
    attempt(async () => { if (await search() && scroll) scrollToResults(); });
  };
  const given = (files) => attempt(() => take(files));
  for (const where of document.querySelectorAll(".zone")) {
    where.textContent = `Times are in your time zone (${zone}).`;
  }
  closable();
  setTokenRequest(requestToken);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("change", (event) => {
    if (event.target.id === "files") {
      given([...event.target.files]);
      event.target.value = ""; // allow choosing the same file again
    } else if (event.target.type !== "text" || typing !== null) {
      again({ scroll: true });
    }
  });
  $("controls").addEventListener("keydown", (event) => {
    // The text was applied while it was typed; on a phone the results are below.
    if (event.key === "Enter" && event.target.type === "text" && typing === null) scrollToResults();
  });
  $("controls").addEventListener("input", (event) => {
    if (event.target.type !== "text") return;
    clearTimeout(typing);
    typing = setTimeout(() => again(), 400);
  });
  droppable(document.body, $("drop"), given);
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    given([...event.clipboardData.files]);
  });
  people.wire();
  adding.wire(() => info.limits, () => attempt(renew));
  $("clear-query").addEventListener("click", () => { use([]); $("files").focus(); });
  $("clear-filters").addEventListener("click", () => {
    clearFilters();
    attempt(search);
    $("filters").querySelector("summary").focus();
  });
  for (const button of $("export").querySelectorAll("button")) {
    const { format } = button.dataset;
    button.addEventListener("click", () => attempt(() => {
      const form = asked();
      form.set("format", format);
      return download("api/report", form, `search.${format}`);
    }));
  }
  $("more").addEventListener("click", () => {
    limit += STEP;
    attempt(() => search({ more: true }));
  });
  detail.wire({
    search: (entry, how) => {
      cases.close();
      use([new GalleryEntry(entry, how)]);
      $("results").focus();
    },
    join: (entry) => {
      cases.close();
      use([...query, new GalleryEntry(entry)]);
    },
    edit: editing.edit,
    remove: deleting.confirmDelete,
  });
  cases.wire({
    info: () => info,
    asked,
    search: (entries) => {
      useFirst(entries.map((entry) => new GalleryEntry(entry)));
      $("results").focus();
    },
    open: (hit, list) => detail.open(hit, { list, info, query: null, remark: "" }),
    decided: detail.showCase,
    alarm,
  });
  editing.wire((changed) => {
    detail.renew(changed);
    attempt(renew);
    attempt(cases.renew);
    announce(`${plural(changed.length, "image")} changed`);
  }, alarm);
  deleting.wire((count, entry, all) => {
    $("detail").close();
    const gone = (one) => one instanceof GalleryEntry
      && (one.id === entry.id || (all && one.identity === entry.identity));
    query = query.filter((one) => !gone(one));
    draw();
    attempt(renew);
    attempt(cases.renew);
    announce(`${plural(count, "image")} deleted`);
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
