// The dialog that offers the people of a frame or a short video, of whom one becomes the query.

import { $, announce, el, plural } from "./dom.js";
import { post } from "./api.js";
import { Upload } from "./query.js";

const DRAG = 5; // pixels that a pointer moves before it draws
const STEP = 0.01; // of the frame, by which an arrow key moves the edge of a box

let file = null;
let found = null; // the server's answer
let view = 0;
let drawn = null; // the box drawn by hand: left, top, right, bottom in shares of the frame
let chosen = []; // the query images
let decide = null; // resolves the promise of pick()
let asking = null;

/**
 * The query images of the person chosen in a file: [] if none is, and [the file] if it is a crop of
 * one person already. `ready` is called when the user has to choose.
 */
export async function pick(given, limits, ready) {
  const size = await sizeOf(given);
  if (size && isCrop(size, limits)) return [new Upload(given)];
  [file, chosen, asking] = [given, [], new AbortController()];
  const video = !size && !given.type.startsWith("image/");
  if (video) open();
  const ended = new Promise((resolve) => { decide = resolve; });
  try {
    const form = new FormData();
    form.append("file", given, given.name || "pasted image");
    found = await post("api/people", form, { signal: asking.signal });
    if (found.crop) {
      choose([new Upload(given)]);
    } else {
      if (!$("people").open) open();
      show();
      ready();
    }
  } catch (error) {
    $("people").close();
    if (error.name !== "AbortError") throw error;
  }
  return ended;
}

function isCrop({ width, height }, limits) {
  return height >= limits.crop_ratio * width && height <= limits.crop_height;
}

/** Width and height of an image; null if the browser cannot show it. */
async function sizeOf(given) {
  const image = new Image();
  image.src = URL.createObjectURL(given);
  try {
    await image.decode();
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

function open() {
  $("people-title").textContent = `Looking for people in '${file.name}'…`;
  $("people").classList.add("looking");
  $("people").showModal();
}

function choose(images) {
  chosen = images;
  if ($("people").open) $("people").close();
  else decide(chosen);
}

/** The crops of a person as query images. */
function uploads({ crops, modality }, what) {
  return crops.map((crop, n) => {
    const name = crops.length > 1 ? `${what}, image ${n + 1}` : what;
    return new Upload(new File([bytes(crop)], `${name}.jpg`, { type: "image/jpeg" }), modality);
  });
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function url(base64) {
  return URL.createObjectURL(new Blob([bytes(base64)], { type: "image/jpeg" }));
}

// ---- what was found -----------------------------------------------------------------------------

function show() {
  const { people, views, remarks, video } = found;
  $("people").classList.remove("looking");
  const what = video ? plural(people.length, "tracklet") : plural(people.length, "person", "people");
  $("people-title").textContent = people.length === 0 ? "No person was found"
    : `${what} ${people.length === 1 ? "was" : "were"} found`;
  $("people-hint").textContent = people.length === 0
    ? "Draw a box around the person to search for."
    : "Choose whom to search for. If somebody is missing, draw a box around them.";
  $("people-remarks").textContent = remarks.join(" ");
  $("people-whole").hidden = video;
  $("people-list").replaceChildren(...people.map((person, n) => card(person, n)));
  const most = Math.max(...views.map((one) => one.people.length));
  $("people-views").hidden = views.length < 2;
  showView(views.findIndex((one) => one.people.length === most));
  announce($("people-title").textContent);
  ($("people-list").querySelector("button") ?? $("people-draw")).focus();
}

function card(person, n) {
  const image = el("img", { alt: "" });
  image.src = url(person.crops[0]);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  const button = el("button", { type: "button" },
    el("span", { className: "portrait" }, image),
    el("span", { className: "figure" }, named(n)),
    el("span", { className: "under" }, person.modality),
    found.video ? el("span", { className: "under" },
      `${clock(person.first)} to ${clock(person.last)}, ${plural(person.crops.length, "image")}`)
      : "");
  button.dataset.person = n;
  button.addEventListener("click", () => search(n));
  mark(button, n);
  return el("li", { className: "card" }, button);
}

function named(n) {
  return `${found.video ? "Tracklet" : "Person"} ${n + 1}`;
}

function search(n) {
  choose(uploads(found.people[n], `${named(n)} of ${file.name}`));
}

/** Show card and box of a person as belonging together. */
function mark(element, n) {
  const all = (on) => {
    for (const one of $("people").querySelectorAll(`[data-person="${n}"]`)) {
      one.classList.toggle("marked", on);
    }
  };
  for (const event of ["pointerenter", "focus"]) element.addEventListener(event, () => all(true));
  for (const event of ["pointerleave", "blur"]) element.addEventListener(event, () => all(false));
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

function showView(n) {
  view = n;
  drawBox(null);
  const { image, seconds, people, boxes } = found.views[view];
  URL.revokeObjectURL($("people-frame").src);
  $("people-frame").src = url(image);
  $("people-frame").alt = found.video ? `The frame at ${clock(seconds)}` : "The frame";
  $("people-stage").style.aspectRatio = `${found.width} / ${found.height}`;
  $("people-stage").style.setProperty("--ratio", found.width / found.height);
  $("people-when").textContent = `${clock(seconds)} (frame ${view + 1} of ${found.views.length})`;
  $("people-before").disabled = view === 0;
  $("people-after").disabled = view === found.views.length - 1;
  const { width, height } = found;
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  // Small boxes lie on large ones.
  const order = [...people.keys()].sort((a, b) => area(boxes[b]) - area(boxes[a]));
  $("people-boxes").replaceChildren(...order.map((at) => {
    const person = people[at];
    const [left, top, right, bottom] = boxes[at];
    const box = el("button", { type: "button", className: "box" }, el("span", {}, person + 1));
    box.setAttribute("aria-label", `Search for ${named(person)}`);
    box.dataset.person = person;
    place(box, [left / width, top / height, right / width, bottom / height]);
    box.addEventListener("click", () => search(person));
    mark(box, person);
    return box;
  }));
}

function place(element, [left, top, right, bottom]) {
  Object.assign(element.style, {
    left: `${100 * left}%`, top: `${100 * top}%`,
    width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%`,
  });
}

// ---- a box by hand ------------------------------------------------------------------------------

function drawBox(box) {
  drawn = box;
  $("people-own").hidden = box === null;
  $("people-search").hidden = box === null;
  $("people-draw").textContent = box === null ? "Draw a box" : "Remove the box";
  $("people-problem").hidden = true;
  if (box) place($("people-own"), box);
}

/** The arrow keys move the box, with Shift its right and lower edge. */
function adjust(event) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [x, y] = by[event.key]?.map((step) => step * STEP) ?? [0, 0];
  if (event.key === "Enter") searchBox();
  if (!x && !y) return;
  event.preventDefault();
  let [left, top, right, bottom] = drawn;
  if (event.shiftKey) {
    right = Math.min(1, Math.max(left + STEP, right + x));
    bottom = Math.min(1, Math.max(top + STEP, bottom + y));
  } else {
    const across = Math.min(1 - right, Math.max(-left, x));
    const down = Math.min(1 - bottom, Math.max(-top, y));
    [left, right, top, bottom] = [left + across, right + across, top + down, bottom + down];
  }
  drawBox([left, top, right, bottom]);
}

/** Draw by a mouse or a pen at any time; by a finger, which also scrolls, while there is a box. */
function wireDrawing() {
  const stage = $("people-stage");
  let start = null;
  let moved = false;
  const at = (event) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height]
      .map((share) => Math.min(1, Math.max(0, share)));
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "touch" && !drawn)) return;
    [start, moved] = [{ point: at(event), x: event.clientX, y: event.clientY }, false];
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    const far = Math.hypot(event.clientX - start.x, event.clientY - start.y) >= DRAG;
    if (!moved && !far) return;
    if (!moved) stage.setPointerCapture(event.pointerId);
    moved = true;
    const [a, b] = [start.point, at(event)];
    drawBox([Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]),
      Math.max(a[1], b[1])]);
  });
  const end = () => {
    if (start && moved) $("people-search").focus();
    start = null;
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  // A box drawn from within a person's box is no choice of that person.
  stage.addEventListener("click", (event) => { if (moved) event.stopPropagation(); moved = false; },
    true);
  stage.addEventListener("dragstart", (event) => event.preventDefault());
}

async function searchBox() {
  const [left, top, right, bottom] = drawn;
  const { width, height } = found;
  const form = new FormData();
  form.append("file", file, file.name);
  for (const edge of [left * width, top * height, right * width, bottom * height]) {
    form.append("box", Math.round(edge));
  }
  form.append("seconds", found.views[view].seconds);
  $("people-search").disabled = true;
  try {
    const answer = await post("api/people", form, { signal: asking.signal });
    choose(uploads(answer.people[0], `box of ${file.name}`));
  } catch (error) {
    if (error.name !== "AbortError") {
      $("people-problem").textContent = error.message;
      $("people-problem").hidden = false;
    }
  }
  $("people-search").disabled = false;
}

export function wire() {
  $("people").addEventListener("close", () => {
    asking.abort();
    decide(chosen);
  });
  $("people-before").addEventListener("click", () => showView(view - 1));
  $("people-after").addEventListener("click", () => showView(view + 1));
  $("people-whole").addEventListener("click", () => choose([new Upload(file)]));
  $("people-draw").addEventListener("click", () => {
    drawBox(drawn ? null : [0.4, 0.2, 0.6, 0.8]);
    if (drawn) $("people-own").focus();
  });
  $("people-own").addEventListener("keydown", adjust);
  $("people-search").addEventListener("click", searchBox);
  wireDrawing();
}
