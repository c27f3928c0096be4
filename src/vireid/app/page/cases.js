// Cases: what was found of one person, with decisions and notes. One dialog lists the cases and
// shows one; while a case is open for additions, every image on the page can be chosen or rejected.

import { $, announce, camera, el, facts, plural, when } from "./dom.js";
import { download, erase, get, patch, post } from "./api.js";
import { MOST } from "./query.js";
import { portrait, score, verdict } from "./results.js";
import { showTimeline } from "./timeline.js";

const SHOWN = 60; // results of a case that are shown at first
const MARKED = 200; // results on its timeline
const AT_ONCE = 500; // decisions of one request

let act = null;
let current = null; // the case that images are added to, as the server describes it
let shown = null; // the case in the dialog
let waiting = null; // images to add once a case is picked
const shownButtons = new Set(); // the buttons of the images on the page: {element, group}

/**
 * `given`: {info, asked, search, open, decided, alarm}: the server's information, the form of the
 * current search, and functions that search with entries, open an image of a list, are told of
 * decisions, and show an error on the page.
 */
export function wire(given) {
  act = given;
  $("cases").addEventListener("close", () => { waiting = null; shown = null; });
  $("open-cases").addEventListener("click", () => showList());
  $("case-open").addEventListener("click", () => showCase(current.case.id));
  $("case-leave").addEventListener("click", () => { use(null); $("open-cases").focus(); });
}

/** Show whether the gallery has cases; they can be read where it is served read-only. */
export function offer() {
  $("open-cases").hidden = !act.info().cases;
}

export function close() {
  if ($("cases").open) $("cases").close();
}

/** Show the case again after entries were deleted or edited. */
export async function renew() {
  if (current) {
    use(await get(`api/cases/${current.case.id}`).catch((error) => {
      if (error.status === 404) return null; // deleted, or shared no more
      throw error;
    }));
  }
  if (shown) await showCase(shown.case.id);
}

// ---- decisions on the images of the page ---------------------------------------------------------

/** The buttons that decide on an image, or on all images of a group; "" without an open case. */
export function buttonsOf(group) {
  const element = el("span", { className: "decide" });
  const one = { element, group };
  shownButtons.add(one);
  drawButtons(one);
  return element;
}

/** Forget the buttons of images that are replaced by others. */
export function forgetButtons() {
  shownButtons.clear();
}

function drawButtons({ element, group }) {
  element.hidden = current === null;
  if (current === null) return;
  const decision = decisionOn(group[0].entry.id);
  const what = group.length > 1 ? plural(group.length, "image") : `'${group[0].entry.name}'`;
  element.replaceChildren(...[["chosen", "✓", "Add", "Added"], ["rejected", "✗", "Reject", "Rejected"]]
    .map(([kind, sign, verb, done]) => {
      const on = decision === kind;
      const button = el("button", { type: "button", className: `quiet ${kind}` },
        `${sign} ${on ? done : verb}`);
      button.setAttribute("aria-pressed", String(on));
      button.setAttribute("aria-label", on ? `${done}: ${what}; remove from the case`
        : `${verb} ${what}${kind === "chosen" ? " to the case" : ": not this person"}`);
      button.addEventListener("click", () => attempt(async () => {
        const ids = group.map((found) => found.entry.id);
        await (on ? remove(current, ids.filter(decisionOn)) : decide(current, kind, ids));
        element.querySelector(`.${kind}`).focus();
      }));
      return button;
    }));
}

function decisionOn(id) {
  return current?.hits.find((hit) => hit.entry.id === id)?.decision;
}

/** Add an image of the detail dialog to the open case, or to one that is picked first. */
export function add(found) {
  if (current) {
    return attempt(() => decide(current, "chosen", [found.entry.id]));
  }
  return showList([found.entry.id]);
}

/** What the button of the detail dialog says; empty if nothing can be added. */
export function label(found) {
  if (!act.info().cases || act.info().read_only) return "";
  if (current === null) return "Add to a case…";
  return decisionOn(found.entry.id) === "chosen" ? "" : `Add to case '${short(current.case.name)}'`;
}

async function decide(to, kind, ids) {
  let answer = to;
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const form = act.asked();
    form.set("limit", Math.min(form.get("limit"), MOST)); // browsing has no limit
    for (const id of ids.slice(at, at + AT_ONCE)) form.append(kind, id);
    answer = await post(`api/cases/${to.case.id}/hits`, form);
  }
  use(answer);
  announce(`${plural(ids.length, "image")} ${kind}`);
}

async function remove(from, ids) {
  let answer = from;
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    answer = await post(`api/cases/${from.case.id}/remove`, { ids: ids.slice(at, at + AT_ONCE) });
  }
  changed(answer);
  announce("Removed from the case");
}

/** Make a case the one that images are added to; null for none. */
function use(found) {
  current = act.info().read_only ? null : found;
  $("case-bar").hidden = current === null;
  if (current) {
    $("case-name").textContent = current.case.name;
    $("case-count").textContent = `${current.case.chosen} chosen, ${current.case.rejected} rejected`;
  }
  for (const one of shownButtons) drawButtons(one);
  act.decided();
}

/** A case has changed: show it wherever it is shown. */
function changed(answer) {
  if (current?.case.id === answer.case.id) use(answer);
  if (shown?.case.id === answer.case.id) drawCase(answer);
}

// ---- the dialog -----------------------------------------------------------------------------------

async function attempt(action) {
  try {
    $("case-problem")?.setAttribute("hidden", "");
    await action();
  } catch (error) {
    problem(error.message);
  }
}

/** Show an error in the dialog, or on the page if the dialog is closed. */
function problem(text) {
  if (!$("cases").open) {
    act.alarm(text);
    return;
  }
  $("case-problem").textContent = text;
  $("case-problem").hidden = false;
  $("case-problem").scrollIntoView({ block: "nearest" });
}

function frame(title, back, ...parts) {
  const shut = el("button", { type: "button", className: "quiet" }, "✕");
  shut.setAttribute("aria-label", "Close");
  shut.addEventListener("click", close);
  const all = back ? el("button", { type: "button", className: "quiet" }, "All cases") : "";
  if (back) all.addEventListener("click", () => showList());
  $("cases").replaceChildren(
    el("header", {}, el("h2", { id: "cases-title" }, title), el("div", { className: "steps" }, all, shut)),
    el("p", { id: "case-problem", className: "notice alarm", role: "alert", hidden: true }),
    ...parts);
  if (!$("cases").open) $("cases").showModal();
  $("cases").scrollTop = 0;
}

/** List the cases; `ids` are entries that the picked one gets. */
async function showList(ids = null) {
  waiting = ids;
  shown = null;
  const list = el("ul", { className: "case-list" });
  const none = el("p", { className: "pale" });
  const name = el("input", { type: "text", maxLength: 200, required: true, autocomplete: "off" });
  const form = el("form", { className: "new-case" },
    el("label", { className: "field" }, "New case", name),
    el("button", { type: "submit" }, "Open case"));
  form.hidden = act.info().read_only;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => pick(await post("api/cases", { name: name.value })));
  });
  frame(ids ? "Add to which case?" : "Cases", false, form, list, none);
  if (!form.hidden) name.focus();
  await attempt(async () => {
    const { cases, damaged } = await get("api/cases");
    none.textContent = [
      cases.length ? "" : "No cases yet. A case keeps what was found of one person.",
      damaged ? `${plural(damaged, "case")} cannot be read; see 'vireid gallery verify'.` : "",
    ].join(" ");
    list.replaceChildren(...cases.map((one) => {
      const button = el("button", { type: "button", className: "quiet" },
        el("strong", {}, one.name),
        el("span", { className: "pale small" },
          `${one.chosen} chosen, ${one.rejected} rejected, ${plural(one.notes, "note")}`),
        el("span", { className: "pale small" },
          `opened by ${one.opened_by}${one.shared ? ", shared" : ""}, changed `, when(one.changed)));
      button.addEventListener("click", () => attempt(async () =>
        pick(await get(`api/cases/${one.id}`))));
      return el("li", {}, button);
    }));
  });
}

async function pick(found) {
  if (waiting === null) {
    drawCase(found);
    return;
  }
  await decide(found, "chosen", waiting);
  close();
}

async function showCase(id) {
  await attempt(async () => drawCase(await get(`api/cases/${id}`)));
}

/** Results of one decision: tracklets or single images, best first. */
function groupsOf(hits) {
  const groups = new Map();
  for (const hit of hits) {
    const { camera: place, tracklet, id } = hit.entry;
    const key = tracklet === "" ? id : JSON.stringify([place, tracklet]);
    groups.set(key, [...groups.get(key) ?? [], hit]);
  }
  const best = (one, other) => (other.score ?? -2) - (one.score ?? -2);
  const sorted = [...groups.values()].map((group) => group.sort(best))
    .sort(([one], [other]) => best(one, other));
  return sorted.map((group, n) => group.map((hit) =>
    ({ ...hit, rank: hit.score === null ? undefined : n + 1, verdict: hit.verdict || null })));
}

function drawCase(found) {
  shown = found;
  const { case: about, queries, hits, notes } = found;
  const writable = !act.info().read_only;
  const chosen = groupsOf(hits.filter((hit) => hit.decision === "chosen"));
  const rejected = groupsOf(hits.filter((hit) => hit.decision === "rejected"));
  const list = [...chosen, ...rejected].flat();
  const open = (hit) => act.open(hit, list);
  const timeline = el("figure", { className: "timeline" });
  const about_list = el("dl", { className: "facts" });
  facts(about_list, [
    ["Opened", el("span", {}, when(about.opened, { named: true }), ` by ${about.opened_by}`)],
    ["Changed", when(about.changed, { named: true })],
    ["Missing", about.chosen + about.rejected > hits.length ? `${
      plural(about.chosen + about.rejected - hits.length, "hit")} not in the gallery; see "vireid gallery verify"` : ""],
    ["Deleted", about.deleted ? `${plural(about.deleted, "image")} of this case ${
      about.deleted === 1 ? "was" : "were"} deleted from the gallery` : ""],
  ]);
  frame(about.name, true,
    about_list,
    actions(found, writable),
    section("Query", queries.length, el("ul", { className: "case-query" },
      ...queries.map((query) => queryItem(found, query, writable)))),
    timeline,
    section("Chosen", hits.filter((hit) => hit.decision === "chosen").length,
      grid(found, chosen, open, writable)),
    section("Rejected", hits.filter((hit) => hit.decision === "rejected").length,
      grid(found, rejected, open, writable)),
    noteSection(found, notes, writable));
  showTimeline(chosen.slice(0, MARKED), open, timeline);
}

function section(title, count, ...parts) {
  if (count === 0) return "";
  return el("section", {}, el("h3", {}, `${title} (${count.toLocaleString("en-GB")})`), ...parts);
}

function actions(found, writable) {
  const { case: about, queries } = found;
  const parts = [];
  const button = (text, action, kind = "quiet") => {
    const made = el("button", { type: "button", className: kind }, text);
    made.addEventListener("click", () => attempt(() => action(made)));
    parts.push(made);
    return made;
  };
  if (writable && current?.case.id !== about.id) {
    button("Add images to this case", () => { use(found); close(); }, "");
  }
  const entries = queries.map((query) => query.entry).filter((entry) => entry !== null);
  if (entries.length) button("Search with its query", () => { close(); act.search(entries); });
  for (const [format, text] of [["html", "Report: page"], ["csv", "table"], ["json", "JSON"]]) {
    button(text, () => {
      const form = new FormData();
      form.set("format", format);
      return download(`api/cases/${about.id}/report`, form, `case.${format}`);
    });
  }
  if (writable && about.own) {
    if (act.info().user !== "local") {
      button(about.shared ? "Stop sharing" : "Share with everybody", async () => changed(
        await patch(`api/cases/${about.id}`, { shared: !about.shared })));
    }
    let sure = false;
    button("Delete case…", async (made) => {
      if (!sure) {
        sure = true;
        made.textContent = "Delete it permanently";
        announce("Press again to delete the case permanently");
        return;
      }
      await erase(`api/cases/${about.id}`);
      if (current?.case.id === about.id) use(null);
      await showList();
    }, "quiet danger");
  }
  return el("div", { className: "actions" }, ...parts);
}

function small(text, spoken, action) {
  const button = el("button", { type: "button", className: "quiet" }, text);
  button.setAttribute("aria-label", spoken);
  button.addEventListener("click", () => attempt(action));
  return button;
}

function queryItem(found, query, writable) {
  const { entry } = query;
  const name = entry ? entry.name : query.name;
  const image = entry ? portrait(entry)
    : el("span", { className: "portrait none" }, el("span", { className: "missing" }, "not kept"));
  return el("li", { title: entry ? "" : "An uploaded query image; cases keep no images. Add it to the gallery to keep it." },
    image, el("span", { className: "under" }, name),
    writable ? small("Remove", `Remove the query ${name}`, () => remove(found, [query.id])) : "");
}

function grid(found, groups, open, writable) {
  const list = el("ol", { className: "grid" });
  const more = el("button", { type: "button", className: "quiet" }, "Show more");
  let count = 0;
  const extend = () => {
    list.append(...groups.slice(count, count + SHOWN).map((group) => item(found, group, open, writable)));
    count += SHOWN;
    more.hidden = count >= groups.length;
  };
  more.addEventListener("click", extend);
  extend();
  return el("div", {}, list, el("p", { className: "more" }, more));
}

function item(found, group, open, writable) {
  const [best, ...others] = group;
  const ids = group.map((hit) => hit.entry.id);
  const other = best.decision === "chosen" ? "rejected" : "chosen";
  const button = el("button", { type: "button" }, portrait(best.entry),
    best.score === null ? "" : el("span", { className: "line" },
      el("span", { className: "pale" }, `${best.rank}`),
      el("span", { className: "figure" }, el("span", { className: "unseen" }, "score "), score(best.score))),
    verdict(best.verdict),
    el("span", { className: "under" }, camera(best.entry)),
    best.entry.time === null ? "" : el("span", { className: "under" }, when(best.entry.time)),
    el("span", { className: "under" }, `${best.decision} by ${best.by}`));
  button.addEventListener("click", () => open(best));
  const card = el("li", { className: "card" }, button);
  if (others.length) {
    const crops = el("button", { type: "button", className: "link alike" },
      `${others.length} more of the tracklet`);
    crops.setAttribute("aria-expanded", "false");
    crops.addEventListener("click", () => {
      const on = crops.getAttribute("aria-expanded") !== "true";
      crops.setAttribute("aria-expanded", String(on));
      if (!on) {
        while (card.nextElementSibling?.matches(".inner")) card.nextElementSibling.remove();
        return;
      }
      card.after(...others.map((hit) => {
        const inner = item(found, [hit], open, writable);
        inner.classList.add("inner");
        return inner;
      }));
    });
    card.append(crops);
  }
  if (writable) {
    const what = group.length > 1 ? plural(group.length, "image") : `'${best.entry.name}'`;
    card.append(el("span", { className: "decide" },
      small("Remove", `Remove ${what}`, () => remove(found, ids)),
      small(other === "chosen" ? "Choose" : "Reject", `${other === "chosen" ? "Choose" : "Reject"} ${what}`,
        () => move(found, other, ids))));
  }
  return card;
}

/** Change a decision; the score stays that of the search which found the image. */
async function move(found, kind, ids) {
  let answer = found;
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const form = new FormData();
    for (const id of ids.slice(at, at + AT_ONCE)) form.append(kind, id);
    answer = await post(`api/cases/${found.case.id}/hits`, form);
  }
  changed(answer);
}

function noteSection(found, notes, writable) {
  const list = el("ul", { className: "case-notes" }, ...notes.map((note) => el("li", {},
    el("p", { className: "pale small" }, when(note.time, { named: true }), ` ${note.by} `,
      writable ? small("Remove", "Remove this note", () => remove(found, [note.id])) : ""),
    el("p", { className: "text" }, note.text))));
  const text = el("textarea", { maxLength: 2000, rows: 3, required: true });
  const form = el("form", {}, el("label", { className: "field" }, "New note", text),
    el("button", { type: "submit", className: "quiet" }, "Add note"));
  form.hidden = !writable;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => changed(await post(`api/cases/${found.case.id}/notes`, { text: text.value })));
  });
  if (!writable && notes.length === 0) return "";
  return el("section", {}, el("h3", {}, `Notes (${notes.length})`), list, form);
}

function short(name) {
  return name.length > 24 ? `${name.slice(0, 23)}…` : name;
}
