// The query (uploaded files and entries of the gallery) and the filters.

import { $, el, zoned } from "./dom.js";
import { imageUrl } from "./api.js";

export const MOST = 200; // results of one search, and entries of one page of a list

/** A query image from a file; `modality` is that of the frame it was cut out of, if it was. */
export class Upload {
  constructor(file, modality = null) {
    this.file = file;
    this.modality = modality;
    this.name = file.name || "pasted image";
    this.address = URL.createObjectURL(file);
  }

  async url() { return this.address; }

  into(form, field = "images") { form.append(field, this.file, this.name); }
}

/** A query image from the gallery. */
export class GalleryEntry {
  constructor(entry, { tracklet = false } = {}) {
    this.id = entry.id;
    this.tracklet = tracklet; // whether its whole tracklet is the query
    this.name = entry.name;
    this.identity = entry.identity;
  }

  url() { return imageUrl(this.id, { full: true }); }

  into(form) {
    form.append("entry", this.id);
    if (this.tracklet) form.set("tracklets", "true");
  }
}

export function showQuery(query, remove) {
  $("query").replaceChildren(...query.map((one) => {
    const image = el("img", { alt: one.name });
    // Browsers do not show all formats (TIFF).
    image.addEventListener("error", () => image.replaceWith(el("small", {}, "No preview")));
    one.url().then((url) => { image.src = url; }, () => {});
    const button = el("button", { type: "button", title: "Remove" }, "✕");
    button.setAttribute("aria-label", `Remove ${one.name}`);
    button.addEventListener("click", () => remove(one));
    return el("li", {}, el("span", { className: "portrait" }, image), button);
  }));
  $("pick-label").textContent = query.length ? "Add another image" : "Choose an image";
  $("drop-hint").textContent = query.length ? "of the same person, to search with both."
    : "or drop or paste one: a person, a whole scene or a short video.";
  $("modality").disabled = query.every((one) => one instanceof GalleryEntry);
  $("clear-query").hidden = query.length === 0;
  if (query.length === 0) showDetected(null);
}

/** The modality that all images have from the frames they were cut out of; null if none. */
export function modalityOf(query) {
  const modalities = new Set(query.map((one) => one.modality ?? null));
  return modalities.size === 1 ? [...modalities][0] : null;
}

/** Show the detected modalities of uploaded images. */
export function showDetected(images) {
  const detected = new Set((images ?? []).filter((one) => one.detected).map((one) => one.modality));
  $("detected").textContent = detected.size ? `Detected: ${[...detected].join(" and ")}.` : "";
}

/** The active filters as pairs of name and value, of a search or of a list. */
export function filters({ searching = false } = {}) {
  const given = new FormData($("controls"));
  const pairs = given.getAll("camera").map((camera) => ["camera", camera]);
  for (const name of ["modality", "identity", "note"]) {
    // A list has both modalities without a filter.
    if (name === "modality" && given.get(name) === "both") {
      if (searching) pairs.push(["both_modalities", "true"]);
    } else if (given.get(name).trim()) pairs.push([name, given.get(name).trim()]);
  }
  for (const name of ["since", "until"]) {
    if (zoned(given.get(name))) pairs.push([name, zoned(given.get(name))]);
  }
  return pairs;
}

export function showCameras(cameras) {
  const names = Object.entries(cameras);
  const checked = new FormData($("controls")).getAll("camera");
  const legend = $("cameras").querySelector("legend");
  $("cameras").hidden = names.length < 2;
  $("cameras").replaceChildren(legend, ...names.map(([name, count]) => el("label", {},
    el("input", { type: "checkbox", name: "camera", value: name, checked: checked.includes(name) }),
    el("span", {}, name || "unknown"), el("small", {}, count.toLocaleString("en-GB")))));
}

export function clearFilters() {
  for (const input of $("filters").querySelectorAll("input")) {
    if (input.type === "checkbox") input.checked = false;
    else if (input.type === "radio") input.checked = input.value === "";
    else input.value = "";
  }
}
