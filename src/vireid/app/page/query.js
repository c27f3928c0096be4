// What is searched with: uploaded files and entries of the gallery, and the filters.

import { $, el, zoned } from "./dom.js";
import { picture } from "./net.js";

/** A file of the visitor's. */
export class Upload {
  constructor(file) {
    this.file = file;
    this.name = file.name || "pasted picture";
    this.address = URL.createObjectURL(file);
  }

  async url() { return this.address; }

  into(form, field = "images") { form.append(field, this.file, this.name); }
}

/** An entry of the gallery. */
export class Kept {
  constructor(entry) {
    this.id = entry.id;
    this.name = entry.name;
    this.identity = entry.identity;
  }

  url() { return picture(this.id, { whole: true }); }

  into(form) { form.append("entry", this.id); }
}

export function showQuery(query, remove) {
  $("query").replaceChildren(...query.map((one) => {
    const image = el("img", { alt: one.name });
    one.url().then((url) => { image.src = url; }, () => {});
    const button = el("button", { type: "button", title: "Remove" }, "✕");
    button.setAttribute("aria-label", `Remove ${one.name}`);
    button.addEventListener("click", () => remove(one));
    return el("li", {}, el("span", { className: "portrait" }, image), button);
  }));
  $("pick-label").textContent = query.length ? "Add another picture" : "Choose a picture";
  $("drop-hint").textContent = query.length ? "of the same person, to search with both."
    : "or drop or paste one. Several are taken for the same person.";
  $("modality").disabled = query.every((one) => one instanceof Kept);
  $("clear-query").hidden = query.length === 0;
  if (query.length === 0) showGuess(null);
}

/** Say what was guessed of uploaded pictures, from the server's answer. */
export function showGuess(pictures) {
  const guessed = new Set((pictures ?? []).filter((one) => one.guessed).map((one) => one.modality));
  $("guess").textContent = guessed.size ? `Guessed: ${[...guessed].join(" and ")}.` : "";
}

/** The filters that are set, as pairs of name and value. */
export function filters() {
  const given = new FormData($("controls"));
  const pairs = given.getAll("camera").map((camera) => ["camera", camera]);
  for (const name of ["modality", "identity", "note"]) {
    if (given.get(name).trim()) pairs.push([name, given.get(name).trim()]);
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
