// Where and when the results were seen: cameras as rows, time along x, results by score.

import { $, el } from "./dom.js";
import { score } from "./results.js";

const SVG = "http://www.w3.org/2000/svg";
const ROW = 34; // height of a camera's row
const TICKS = 4;

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const shown = new WeakMap(); // what figures show, and at which width they are drawn
const resized = new ResizeObserver((seen) => {
  for (const { target } of seen) {
    const { groups, open, width } = shown.get(target);
    const now = target.clientWidth; // 0 while it is not shown
    if (now !== width && now > 0) showTimeline(groups, open, target);
  }
});

/**
 * Show the timeline of groups of results in a figure, drawn again if its width changes; hidden if
 * no time is known. The score of a result may be null.
 */
export function showTimeline(groups, open, figure = $("timeline")) {
  const seen = groups.map((group) => {
    const times = group.map((found) => found.entry.time).filter((time) => time !== null)
      .map((time) => Date.parse(time));
    return { n: group[0].rank ?? "", best: group[0], first: Math.min(...times), last: Math.max(...times) };
  }).filter(({ first }) => Number.isFinite(first));
  figure.hidden = seen.length === 0;
  if (seen.length === 0) return;
  const cameras = [...new Set(seen.map(({ best }) => best.entry.camera))].sort();
  const start = Math.min(...seen.map(({ first }) => first));
  const end = Math.max(...seen.map(({ last }) => last), start + 1000);
  const width = Math.max(300, figure.clientWidth);
  shown.set(figure, { groups, open, width: figure.clientWidth });
  resized.observe(figure);
  const left = Math.min(130, width * 0.28);
  const at = (time) => left + 14 + ((time - start) / (end - start)) * (width - left - 34);
  const height = cameras.length * ROW;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height + 40}`, role: "group",
    "aria-label": "Results by camera and time" });
  cameras.forEach((name, row) => {
    const y = row * ROW + ROW / 2 + 6;
    const text = name === "" ? "unknown" : name;
    svg.append(
      draw("line", { x1: left, x2: width, y1: y, y2: y, class: "row" }),
      draw("text", { x: 0, y: y + 4 }, text.length > 16 ? `${text.slice(0, 15)}…` : text));
  });
  const sameDay = new Date(start).toDateString() === new Date(end).toDateString();
  const clock = new Intl.DateTimeFormat("en-GB", sameDay
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const ticks = Math.max(1, Math.min(TICKS, Math.floor(width / 170)));
  for (let tick = 0; tick <= ticks; tick += 1) {
    const time = start + ((end - start) * tick) / ticks;
    const anchor = tick === 0 ? "start" : tick === ticks ? "end" : "middle";
    svg.append(draw("text", { x: at(time), y: height + 30, class: "tick", "text-anchor": anchor },
      clock.format(time)));
  }
  const scores = seen.map(({ best }) => best.score).filter((value) => value !== null);
  const low = Math.min(...scores);
  const span = Math.max(...scores) - low || 1;
  // Ranks that would cover those of better results are left out.
  const ranked = {};
  const labelled = new Set(seen.filter(({ best, first }) => {
    const places = ranked[best.entry.camera] ??= [];
    const place = at(best.entry.time === null ? first : Date.parse(best.entry.time));
    const free = places.every((other) => Math.abs(other - place) > 18);
    if (free) places.push(place);
    return free;
  }));
  // The best ones are drawn last.
  for (const one of [...seen].reverse()) {
    const { n, best, first, last } = one;
    const y = cameras.indexOf(best.entry.camera) * ROW + ROW / 2 + 6;
    const middle = at(best.entry.time === null ? first : Date.parse(best.entry.time));
    const label = `${`Result ${n}`.trim()}, ${best.entry.camera || "unknown camera"}, ${best.entry.time}${best.score === null ? "" : `, score ${score(best.score)}`}`;
    const share = best.score === null ? 0 : (best.score - low) / span;
    const strength = (0.35 + 0.65 * share).toFixed(2);
    const mark = draw("g", { class: "mark", tabindex: "0", role: "button", "aria-label": label },
      draw("title", {}, label),
      ...first === last ? [] : [draw("line", { x1: at(first), x2: at(last), y1: y, y2: y,
        class: "span", "stroke-opacity": strength })],
      draw("circle", { cx: middle, cy: y, r: 9, "fill-opacity": strength }),
      draw("text", { x: middle, y: y - 11, "text-anchor": "middle", class: "tick" },
        labelled.has(one) ? `${n}` : ""));
    mark.addEventListener("click", () => open(best));
    mark.addEventListener("keydown", (event) => { if (event.key === "Enter") open(best); });
    svg.append(mark);
  }
  figure.replaceChildren(el("figcaption", { className: "pale small" },
    "Where and when the results were seen, in your time zone; stronger is a higher score."), svg);
}
