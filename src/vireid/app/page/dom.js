// DOM helpers. Text is always set as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** Announce a text to screen readers. */
export function announce(text) {
  $("status").textContent = text;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-GB")} ${count === 1 ? one : many}`;
}

const PARTS = {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  second: "2-digit",
};
const clock = new Intl.DateTimeFormat("en-GB", PARTS);
const zonedClock = new Intl.DateTimeFormat("en-GB", { ...PARTS, timeZoneName: "short" });

/** Name of the user's time zone, such as Europe/Berlin. */
export const zone = clock.resolvedOptions().timeZone;

/** A time in the user's zone; `named` adds the name of the zone. */
export function when(time, { named = false } = {}) {
  const text = (named ? zonedClock : clock).format(new Date(time));
  return el("time", { dateTime: time, title: time }, text);
}

/** The value of a datetime-local field in UTC; empty if the field is. */
export function zoned(value) {
  const time = new Date(value);
  return value && !Number.isNaN(time.getTime()) ? time.toISOString() : "";
}

/** A time as the value of a datetime-local field. */
export function localTime(time) {
  const date = new Date(time);
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, -1);
}

export function camera(entry) {
  return entry.camera === "" ? "unknown camera" : entry.camera;
}

/** Fill a <dl>; pairs without a value are left out. */
export function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, value]) => value !== "" && value !== null)
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** Accept files dropped on an element and pass them to `take`. */
export function droppable(target, outline, take) {
  let inside = 0;
  const mark = (change) => {
    inside = Math.max(0, inside + change);
    outline.classList.toggle("over", inside > 0);
  };
  target.addEventListener("dragenter", (event) => { event.preventDefault(); mark(1); });
  target.addEventListener("dragleave", () => mark(-1));
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    inside = 0;
    mark(0);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

/** Every button with data-close closes its dialog. */
export function closable() {
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}
