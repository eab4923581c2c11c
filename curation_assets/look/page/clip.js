// One clip's page: its video, its pictures, each rule with what it has there, its copies beside it, and all that is known of it.

import { ask, asked, at, el, fault, hours, short } from "/page/look.js";
import { drawBoxes } from "/page/boxes.js";
import { likeClip, neighbour, picture, player } from "/page/grid.js";
import { label } from "/page/labels.js";

let shown = null;
let coming = null; // what was asked for last; until it is there, what is shown stays

export async function openClip(item) {
  for (const video of document.querySelectorAll(".card video")) { video.pause(); video.remove(); }
  coming = item;
  const wanted = () => coming === item && at("clip").open;
  at("clip").setAttribute("aria-busy", true);
  if (!at("clip").open) {
    shown = item;
    at("clip").replaceChildren(el("header", {}, el("h2", { tabindex: -1, autofocus: true }, item.id), close()), el("p", { role: "status" }, "looking …"));
    at("clip").showModal();
  }
  try {
    const clip = await ask("clip", { ...asked(), shard: item.shard, id: item.id });
    if (!wanted()) return;
    shown = item;
    at("clip").removeAttribute("aria-busy");
    draw(clip);
    at("clip").querySelector("h2").focus(); // what had it is gone, and keys with it
  } catch (error) {
    if (wanted()) at("clip").close();
    fault(error);
  }
}

const close = () => el("button", { onclick: () => at("clip").close() }, "close");

function screen(item, words) {
  const made = el("div", { class: "screen" });
  const video = player(item, () => video.replaceWith(el("span", {}, words)));
  video.controls = true;
  made.append(video);
  return made;
}

function draw(clip) {
  const cannot = clip.file.error ?? `this browser cannot play ${clip.file.video_codec ?? "it"} in ${clip.file.container ?? "this file"}`;
  const main = screen(clip, cannot);
  const seek = (ms) => { const video = main.querySelector("video"); if (video) video.currentTime = (ms + 1) / 1000; };
  const strip = el("div", { class: "strip" }, ...clip.times.map((time, n) =>
    el("button", { type: "button", title: `at ${time} ms`, onclick: () => seek(time) },
      el("img", { src: picture(clip.shard, clip.clip_id, n), alt: `at ${time} ms` }), el("span", {}, `${(time / 1000).toFixed(2)} s`))));
  const left = el("div", { class: "left" }, main, strip);
  if (clip.copies.length) left.append(copies(clip));
  at("clip").replaceChildren(
    el("header", {}, el("h2", { tabindex: -1, autofocus: true }, clip.id),
      el("span", {}, `${hours(clip.end_ms - clip.start_ms)} from ${(clip.start_ms / 1000).toFixed(2)} s of ${clip.video_id}`),
      el("span", { class: "held" }, ...["keep", "drop"].map((name) => el("button", { type: "button", "data-label": name, title: name === "keep" ? "y" : "n", onclick: () => give(name) }, name))),
      el("button", { onclick: () => walk(-1), title: "arrow left" }, "← before"), el("button", { onclick: () => walk(1), title: "arrow right" }, "after →"),
      el("button", { onclick: () => { at("clip").close(); likeClip(clip); }, title: "by the stored embeddings" }, "similar clips"),
      close()),
    left, el("div", { class: "right" }, verdicts(clip.rules), facts(clip.sections)));
  drawBoxes(main, clip);
  main.querySelector("video").play().catch(() => {});
  drawHeld();
}

async function give(name) {
  const item = shown;
  await label(name, null, [item]);
  const clip = await ask("clip", { ...asked(), shard: item.shard, id: item.id }).catch(fault);
  const right = at("clip").querySelector(".right");
  if (!clip || shown !== item || !right) return; // walked on or closed meanwhile, or not read yet
  right.firstElementChild.replaceWith(verdicts(clip.rules)); // rules may name the label
  drawHeld();
}

function drawHeld() {
  for (const button of at("clip").querySelectorAll(".held button")) button.setAttribute("aria-pressed", (shown.labels ?? []).includes(button.dataset.label));
}

function verdicts(rules) {
  if (!rules.length) return el("div", {});
  const of = (r) => Object.entries(r.values).map(([name, value]) => `${name} ${value}`).join(", ");
  return el("table", { class: "rules" }, el("thead", {}, el("tr", {}, el("th", {}, ""), el("th", {}, "rule"), el("th", {}, "it has"))),
    el("tbody", {}, ...rules.map((r) => el("tr", { class: r.passes ? "kept" : "dropped" },
      el("td", { class: "mark", title: r.passes ? "passes" : "does not pass" }, r.passes ? "✓" : "✕"), el("td", {}, el("code", {}, r.rule)), el("td", {}, of(r))))));
}

function facts(sections) {
  return el("div", { class: "facts" }, ...sections.flatMap(([title, lines]) => [
    el("h3", {}, title), el("table", {}, el("tbody", {}, ...lines.map(([name, value]) => el("tr", {}, el("td", { title: name }, name), el("td", {}, value)))))]));
}

function copies(clip) {
  const made = el("div", {}, el("h2", {}, `${clip.copies.length === 1 ? "one copy" : `${clip.copies.length} copies`} in its cluster`));
  for (const copy of clip.copies) {
    const pair = [screen(clip, "cannot be played"), screen(copy, "cannot be played")];
    const both = () => pair.forEach((side, i) => {
      const video = side.querySelector("video");
      if (video) { video.currentTime = ([clip, copy][i].start_ms + 1) / 1000; video.muted = i === 1; video.play().catch(() => {}); }
    });
    made.append(el("div", { class: "two" },
      el("div", {}, el("p", {}, clip.clip_id), pair[0]),
      el("div", {}, el("p", {}, `${copy.clip_id}${copy.dataset === clip.dataset ? "" : ` of ${copy.dataset}`}${copy.keep ? ", which is kept" : ""}${copy.relation ? `: ${copy.relation}, ${short(copy.similarity)}` : ""}`), pair[1])),
    el("p", {}, el("button", { type: "button", onclick: both }, "play both from their beginnings")));
  }
  return made;
}

function walk(step) {
  const next = shown && neighbour(shown, step);
  if (next) openClip(next);
}

export function setUpClip() {
  at("clip").addEventListener("close", () => { at("clip").replaceChildren(); at("grid").focus(); });
  at("clip").addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea")) return;
    const video = at("clip").querySelector(".screen video");
    if (event.key === "ArrowRight" || event.key === "l") walk(1);
    else if (event.key === "ArrowLeft" || event.key === "h") walk(-1);
    else if (event.key === "y") give("keep");
    else if (event.key === "n") give("drop");
    else if (event.key === " " && video && !event.target.closest("button")) { if (video.paused) video.play(); else video.pause(); }
    else return;
    event.preventDefault();
  });
}

