// The grid: what was found, or the gallery itself, and what is said where there is nothing.

import { $, camera, el, plural, when } from "./dom.js";
import { picture } from "./net.js";

// Verdicts on a search and on a picture found, by how they look.
const LOOKS = {
  "likely match": "likely", "likely the same person": "likely", uncertain: "uncertain",
};

// Pictures are fetched when they come near the window.
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const image = target.firstChild;
    picture(target.dataset.entry).then((url) => { image.src = url; }, () => {
      target.append(el("span", { className: "missing" }, "The picture cannot be shown."));
    });
  }
}, { rootMargin: "400px" });

function portrait(entry) {
  const frame = el("span", { className: "portrait" }, el("img", { alt: entry.name }));
  frame.dataset.entry = entry.id;
  near.observe(frame);
  return frame;
}

export function verdict(text) {
  return text === null ? "" : el("span", { className: `verdict ${LOOKS[text] ?? "absent"}` }, text);
}

export function score(value) {
  // A true minus, and never "-0.000".
  return value.toFixed(3).replace(/^-0\.000$/, "0.000").replace("-", "−");
}

/** A mere number would not tell what it stands for. */
function named(what, name) {
  return /^\d+$/.test(name) ? `${what} ${name}` : name;
}

function card(found, open, inner = false) {
  const { entry } = found;
  const ranked = found.rank !== undefined;
  const button = el("button", { type: "button" },
    portrait(entry),
    ranked ? el("span", { className: "line" },
      el("span", { className: "pale" }, `${found.rank}`),
      el("span", { className: "figure" }, el("span", { className: "unseen" }, "score "),
        score(found.score))) : "",
    ranked ? verdict(found.verdict) : "",
    el("span", { className: "under" }, named("camera", camera(entry))),
    entry.time === null ? "" : el("span", { className: "under" }, when(entry.time)),
    entry.identity === "" ? "" : el("span", { className: "under" },
      named("identity", entry.identity)));
  button.addEventListener("click", () => open(found));
  return el("li", { className: inner ? "card inner" : "card" }, button);
}

/** The cards of a group: its best one, and a button that shows those that are nearly the same. */
function groupOf(group, open) {
  const best = card(group[0], open);
  if (group.length === 1) return best;
  const others = group.slice(1).map((found) => card(found, open, true));
  const more = el("button", { type: "button", className: "link alike" },
    `${others.length} more, nearly the same`);
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", () => {
    const shown = more.getAttribute("aria-expanded") === "true";
    more.setAttribute("aria-expanded", String(!shown));
    if (shown) others.forEach((other) => other.remove());
    else best.after(...others);
  });
  best.append(more);
  return best;
}

export function showFound(answer, open) {
  const count = answer.groups.flat().length;
  const considered = plural(answer.considered, "picture");
  const most = count < answer.considered ? `The ${count} most similar of ${considered}`
    : `All ${considered}, the most similar first`;
  $("results-title").textContent = count === 0 ? "Nothing found" : most;
  $("verdict").replaceChildren(verdict(answer.verdict));
  const own = answer.left_out === 0 ? "" : answer.left_out === 1
    ? "The picture searched with is in the gallery itself and is left out."
    : `${answer.left_out} pictures searched with are in the gallery themselves and are left out.`;
  $("reading").textContent = count === 0 ? own
    : `Scores are cosines of descriptors, not probabilities. ${answer.remark} ${own}`.trim();
  $("grid").replaceChildren(...answer.groups.map((group) => groupOf(group, open)));
  return count;
}

/** Entries of the gallery: the first ones, or `more` of them after those that are shown. */
export function showEntries(page, entries, open, { filtered, more }) {
  $("results-title").textContent = filtered
    ? `${plural(page.total, "picture")} with these filters` : "The gallery";
  $("verdict").replaceChildren();
  $("reading").textContent = page.total === 0 ? ""
    : "Choose a picture to search with, of your own or one of these.";
  if (!more) $("grid").replaceChildren();
  $("grid").append(...entries.map((one) => card(one, open)));
}

/** Say why there is nothing to see: `parts` are texts and elements. */
export function showNothing(...parts) {
  $("empty").replaceChildren(...parts.map((part) =>
    (typeof part === "string" ? el("p", {}, part) : part)));
  $("empty").hidden = parts.length === 0;
}
