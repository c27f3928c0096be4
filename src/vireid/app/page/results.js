// The grid of results or of the gallery, and the messages if it is empty.

import { $, camera, el, plural, when } from "./dom.js";
import { imageUrl } from "./api.js";
import { buttonsOf, forgetButtons } from "./cases.js";

// Style of the verdicts of a search and of a result.
const STYLES = {
  "likely match": "likely", "likely the same person": "likely", uncertain: "uncertain",
};

// Images are fetched when they come near the viewport.
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const image = target.firstChild;
    imageUrl(target.dataset.entry).then((url) => { image.src = url; }, () => {
      target.append(el("span", { className: "missing" }, "Image not available."));
    });
  }
}, { rootMargin: "400px" });

export function portrait(entry) {
  const frame = el("span", { className: "portrait" }, el("img", { alt: entry.name }));
  frame.dataset.entry = entry.id;
  near.observe(frame);
  return frame;
}

export function verdict(text) {
  return text === null ? "" : el("span", { className: `verdict ${STYLES[text] ?? "absent"}` }, text);
}

export function score(value) {
  // A minus sign instead of a hyphen, and never "-0.000".
  return value.toFixed(3).replace(/^-0\.000$/, "0.000").replace("-", "−");
}

/** A name that is only a number gets a prefix. */
function prefixed(what, name) {
  return /^\d+$/.test(name) ? `${what} ${name}` : name;
}

function card(found, open, { inner = false, group = [found] } = {}) {
  const { entry } = found;
  const ranked = found.rank !== undefined;
  const button = el("button", { type: "button" },
    portrait(entry),
    ranked ? el("span", { className: "line" },
      el("span", { className: "pale" }, `${found.rank}`),
      el("span", { className: "figure" }, el("span", { className: "unseen" }, "score "),
        score(found.score))) : "",
    ranked ? verdict(found.verdict) : "",
    el("span", { className: "under" }, prefixed("camera", camera(entry))),
    entry.time === null ? "" : el("span", { className: "under" }, when(entry.time)),
    entry.identity === "" ? "" : el("span", { className: "under" },
      prefixed("identity", entry.identity)));
  button.addEventListener("click", () => open(found));
  return el("li", { className: inner ? "card inner" : "card" }, button, buttonsOf(group));
}

/** The best card of a group, and a button that shows the rest of its tracklet or near-duplicates. */
function groupOf(group, mean, open) {
  const best = card(group[0], open, { group });
  if (group.length === 1) return best;
  const others = group.slice(1).map((found) => card(found, open, { inner: true }));
  const more = el("button", { type: "button", className: "link alike" },
    mean === null ? plural(others.length, "near-duplicate")
      : `${others.length} more of the tracklet, mean ${score(mean)}`);
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

export function showResults(answer, open) {
  const count = answer.groups.flat().length;
  const considered = plural(answer.considered, "image");
  const results = plural(answer.groups.length, "result");
  const most = answer.mean_scores.some((mean) => mean !== null)
    ? `${results} (${plural(count, "image")}) of ${considered}`
    : count < answer.considered ? `The ${count} most similar of ${considered}`
    : `All ${considered}, most similar first`;
  $("results-title").textContent = count === 0 ? "No results" : most;
  $("verdict").replaceChildren(verdict(answer.verdict));
  const excluded = answer.left_out === 0 ? "" : answer.left_out === 1
    ? "The query image is in the gallery and is excluded."
    : `${answer.left_out} images of the query or of its tracklets are in the gallery and are excluded.`;
  const own = answer.own_modality === 0 ? ""
    : `${plural(answer.own_modality, "image")} of the query's own modality left out (filter “both” includes them).`;
  $("remark").textContent = count === 0 ? excluded
    : `Scores are cosine similarities of features, not probabilities. ${answer.remark} ${own} ${excluded}`.trim();
  forgetButtons();
  const scene = answer.query_remarks.join(" ");
  $("scene-remark").textContent = scene;
  $("scene-remark").hidden = scene === "";
  $("grid").replaceChildren(...answer.groups.map((group, n) =>
    groupOf(group, answer.mean_scores[n], open)));
  return count;
}

/** Show entries of the gallery: the first ones, or `more` of them. */
export function showEntries(page, entries, open, { filtered, more }) {
  $("results-title").textContent = filtered
    ? `${plural(page.total, "image")} with these filters` : "Gallery";
  $("verdict").replaceChildren();
  $("scene-remark").hidden = true;
  $("remark").textContent = page.total === 0 ? ""
    : "Choose an image of your own or one of these as the query.";
  if (!more) {
    forgetButtons();
    $("grid").replaceChildren();
  }
  $("grid").append(...entries.map((one) => card(one, open)));
}

/** Show why there is nothing to show: `parts` are texts and elements. */
export function showEmpty(...parts) {
  $("empty").replaceChildren(...parts.map((part) =>
    (typeof part === "string" ? el("p", {}, part) : part)));
  $("empty").hidden = parts.length === 0;
}
