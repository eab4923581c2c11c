// The grid: cards of clips, playing where they stand, and walking over them with keys.

import { ask, asked, at, awaited, el, fault, hours, many, short, state } from "/page/look.js";
import { openClip } from "/page/clip.js";
import { drawConcepts } from "/page/concepts.js";
import { label } from "/page/labels.js";
import { setUpLasso } from "/page/lasso.js";

const PAGE = 100;
let loaded = 0;
let total = 0;
let loading = false;
let turn = 0;
let here = -1;
const marked = new Set();

export const picture = (shard, clip, n = null) => `/frame?${new URLSearchParams({ shard, clip, ...(n === null ? {} : { n }) })}`;

// The source's bytes from the clip's first moment on; where the browser cannot play those, the clip as it was published.
export function player(item, failed) {
  const start = (item.start_ms + 1) / 1000; // whole milliseconds may lie before the picture that begins the clip, and show the last one of the shot before
  const end = item.end_ms / 1000;
  const made = el("video", { playsinline: true, preload: "auto", src: `/video?${new URLSearchParams({ shard: item.shard, video: item.video_id })}#t=${start},${end}` });
  let published = false;
  const again = () => { made.currentTime = published ? 0 : start; made.play().catch(() => {}); };
  made.addEventListener("timeupdate", () => { if (!published && (made.currentTime >= end - 0.03 || made.currentTime < start - 1)) again(); });
  made.addEventListener("pause", () => { if (!published && made.currentTime >= end - 0.05) again(); });
  made.addEventListener("ended", again);
  made.addEventListener("error", () => {
    if (published) { failed(); return; }
    published = true;
    made.src = `/sample?${new URLSearchParams({ key: state.collection.key, dataset: item.dataset, clip: item.clip_id })}`;
    made.play().catch(() => {});
  });
  return made;
}

const MARKS = { unknown: ["…", "not judged yet"], kept: ["✓", "kept"], dropped: ["✕", "dropped"], came: ["+", "would come in"], went: ["−", "would go out"] };

export function standing(item) {
  if (item.kept === null) return "unknown";
  if (item.kept === item.was) return item.kept ? "kept" : "dropped";
  return item.kept ? "came" : "went";
}

export function shot(item) {
  const made = el("div", { class: "shot" });
  made.append(el("img", { src: picture(item.shard, item.clip_id), alt: `a picture of ${item.clip_id}`, loading: "lazy", decoding: "async", onerror: (e) => e.target.replaceWith("no picture") }),
    el("span", { class: "long" }, hours(item.end_ms - item.start_ms)));
  return made;
}

// Which rule drops a clip, as something that it is not, and what the clip has there.
function reason(item) {
  if (!item.why) return ["", ""];
  const values = Object.values(item.has ?? {});
  const said = values.map((v) => (v === null ? "unknown" : typeof v === "number" ? short(v) : typeof v === "boolean" ? "" : String(v))).filter(Boolean).join(", ");
  if (item.why === "keep") return ["not keep", "a copy"];
  return [/^[\w.]+$/.test(item.why) ? `not ${item.why}` : item.why.replace(/^not (?=[\w.]+$)/, ""), said];
}

export function card(item) {
  const kind = standing(item);
  const [sign, words] = MARKS[kind];
  const has = reason(item);
  const made = el("figure", { class: `card ${kind === "went" ? "went dropped" : kind}${item.copy ? " both" : ""}`, "data-row": item.row, title: `${item.id}: ${words}${item.why ? ` by ${item.why}` : ""}${item.why && has[1] ? ` (${has[1]})` : ""}` });
  const picture_ = item.copy ? el("div", { class: "pair" }, shot(item), shot(item.copy)) : shot(item);
  const value = item.copy ? `${item.copy.relation} ${short(item.copy.similarity)}` : item.value === null || item.value === undefined ? has[1] : short(item.value);
  made.append(picture_, el("figcaption", {},
    el("div", { class: "name" }, el("span", { class: "mark", "aria-label": words }, sign), el("span", {}, `\u200e${item.id}`)),
    el("div", { class: "why" }, el("span", {}, item.copy ? `copy of ${item.copy.clip_id}` : has[0] || "\u00a0"), el("b", {}, value))));
  made.item = item;
  labelsOf(made);
  made.addEventListener("click", (event) => {
    if (made.parentElement === at("grid")) {
      const index = cards().indexOf(made);
      if (event.shiftKey) markTo(index);
      else if (event.ctrlKey || event.metaKey) mark(made);
      go(index);
      if (event.shiftKey || event.ctrlKey || event.metaKey) return;
    }
    if (event.target.closest(".shot")) play(made); else openClip(item);
  });
  return made;
}

function labelsOf(made) {
  const box = made.querySelector(".shot");
  box.querySelector(".labels")?.remove();
  if (made.item.labels?.length) box.append(el("div", { class: "labels" }, ...made.item.labels.map((name) => el("span", {}, name))));
}

export function redrawLabels() {
  document.querySelectorAll(".card").forEach(labelsOf);
}

// The clips that are marked; without any, the one at hand.
export function atHand() {
  const all = cards();
  if (marked.size) return all.filter((c) => marked.has(c.item.row)).map((c) => c.item);
  return all[here] ? [all[here].item] : [];
}

function mark(made, on = !marked.has(made.item.row)) {
  if (on) marked.add(made.item.row); else marked.delete(made.item.row);
  made.classList.toggle("marked", on);
  sayMarked();
}

function sayMarked() {
  at("marked").textContent = marked.size ? `${many(marked.size)} marked` : "the clip at hand";
}

function markTo(index) {
  const from = Math.max(0, here);
  cards().slice(Math.min(from, index), Math.max(from, index) + 1).forEach((c) => mark(c, true));
}

function unmark() {
  cards().forEach((c) => mark(c, false));
  marked.clear();
  sayMarked();
}

export function play(made) {
  const box = made.querySelector(".shot");
  const playing = box.querySelector("video");
  if (playing) { playing.pause(); playing.remove(); return; }
  for (const other of document.querySelectorAll(".card video")) { other.pause(); other.remove(); }
  const video = player(made.item, () => { video.replaceWith(el("span", {}, "this browser cannot play it")); });
  box.append(video);
  video.play().catch(() => {});
}

const cards = () => [...at("grid").querySelectorAll(".card")];

export function neighbour(item, step) {
  const all = cards();
  const found = all[all.findIndex((c) => c.item.row === item.row) + step];
  if (found) go(all.indexOf(found));
  return found ? found.item : null;
}

function go(index) {
  const all = cards();
  if (!all.length) return;
  all[here]?.classList.remove("at");
  here = Math.max(0, Math.min(all.length - 1, index));
  all[here].classList.add("at");
  all[here].scrollIntoView({ block: "nearest" });
  if (here > all.length - 20) load();
}

function columns() {
  const all = cards();
  const top = all[0]?.offsetTop;
  const next = all.findIndex((c) => c.offsetTop !== top);
  return next < 0 ? all.length : next;
}

export async function resetGrid() {
  clearTimeout(state.later); // what a move has asked for is asked now
  if (state.tab === "failed") return;
  if (state.tab === "concepts") { drawConcepts(); return; }
  turn += 1;
  loaded = 0;
  here = -1;
  loading = false;
  unmark();
  await load(true);
}

async function load(fresh = false) {
  if (["failed", "concepts"].includes(state.tab) || loading || (!fresh && loaded >= total)) return;
  loading = true;
  const mine = turn;
  try {
    const told = await awaited(ask("rows", { ...asked(), show: state.show, where: state.where, sort: state.sort, down: state.down ? 1 : 0, ...(state.like ?? {}), offset: loaded, limit: PAGE }));
    if (mine !== turn) return;
    fault(null);
    at("grid").classList.remove("list");
    if (fresh) { at("grid").replaceChildren(); document.querySelector("main").scrollTop = 0; }
    at("grid").append(...told.items.map(card));
    loaded += told.items.length;
    total = told.total.rows;
    at("count").textContent = `${many(total)} ${state.collection.of}${told.total.ms === null ? "" : `, ${hours(told.total.ms)}`}`;
    at("more").textContent = total ? "" : "nothing is so";
  } catch (error) { if (mine === turn) fault(error); }
  if (mine === turn) loading = false;
}

function likeWords(words) {
  state.like = words.trim() ? { like_words: words.trim() } : null;
  resetGrid();
}

export function likeClip(clip) {
  at("like").value = `as ${clip.id}`;
  state.like = { like_clip: clip.row };
  resetGrid();
}

// The picture goes to this machine's server alone, which holds it in memory.
async function likePicture(file) {
  if (!file) return;
  try {
    const answer = await awaited(fetch(`/api/picture?${new URLSearchParams(asked())}`, { method: "POST", headers: { "x-curation-look": "1" }, body: file }));
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    at("like").value = `as ${file.name}`;
    state.like = { like_picture: told.id };
    resetGrid();
  } catch (error) { fault(error); }
}

// What the grid has asked for is not drawn any more; tells whether what is asked for now still is to be.
export function stopGrid() {
  turn += 1;
  const mine = turn;
  return () => mine === turn;
}

export async function drawFailed() {
  const wanted = stopGrid();
  try {
    const names = ["table", "video_id", "clip_id", "why", "error"];
    const body = el("tbody", {});
    const videos = new Set(); // one that failed in a table is no failure of its own in those that are made from it
    const most = 2000;
    let more = false;
    for (let from = 0; from !== null;) {
      const told = await awaited(ask("failed", { dataset: state.collection.dataset, from }));
      if (!wanted()) return;
      if (from === 0) {
        at("grid").classList.add("list");
        at("grid").replaceChildren();
      }
      for (const row of told.rows) {
        const video = JSON.stringify([row.dataset, row.video_id]);
        if (!row.clip_id && videos.has(video)) continue;
        if (!row.clip_id) videos.add(video);
        if (body.childElementCount === most) more = true;
        else body.append(el("tr", {}, ...names.map((n) => el("td", {}, row[n] ?? ""))));
      }
      if (body.childElementCount && !at("grid").childElementCount) {
        at("grid").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...names.map((n) => el("th", {}, n)))), body));
      }
      more ||= told.more;
      from = more ? null : told.next;
      at("more").textContent = more ? "there are more: curation list failed" : from === null ? "" : `${many(told.looked)} of ${many(told.tables)} tables looked through`;
    }
    if (!body.childElementCount) at("grid").replaceChildren(el("p", {}, "nothing has failed"));
    fault(null);
  } catch (error) { if (wanted()) fault(error); }
}

export function setUpGrid() {
  const changed = (name, value) => { state[name] = value; resetGrid(); };
  at("show").addEventListener("change", (e) => changed("show", e.target.value));
  at("sort").addEventListener("change", (e) => { at("down").hidden = !e.target.value; changed("sort", e.target.value); });
  at("where").addEventListener("change", (e) => changed("where", e.target.value));
  at("down").addEventListener("click", () => {
    at("down").setAttribute("aria-pressed", !state.down);
    at("down").textContent = state.down ? "lowest first" : "highest first";
    changed("down", !state.down);
  });
  at("like").addEventListener("change", (e) => likeWords(e.target.value));
  at("picture").addEventListener("change", (e) => { likePicture(e.target.files[0]); e.target.value = ""; });
  at("size").addEventListener("input", (e) => document.documentElement.style.setProperty("--card", `${e.target.value}px`));
  at("tools").addEventListener("submit", (e) => { e.preventDefault(); });
  new IntersectionObserver((seen) => { if (seen.some((s) => s.isIntersecting) && loaded) load(); }, { rootMargin: "600px" }).observe(at("more"));
  document.addEventListener("keydown", keyed);
  setUpLasso(cards, mark, unmark);
}

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") at("grid").focus();
    return;
  }
  const steps = { ArrowRight: 1, l: 1, ArrowLeft: -1, h: -1, ArrowDown: columns(), j: columns(), ArrowUp: -columns(), k: -columns() };
  const current = cards()[here];
  if (event.key in steps) {
    const next = Math.min(cards().length - 1, Math.max(0, here < 0 ? 0 : here + steps[event.key]));
    if (event.shiftKey) markTo(next);
    go(next);
  }
  else if (event.key === "y") label("keep", null);
  else if (event.key === "n") label("drop", null);
  else if (event.key === "x" && current) mark(current);
  else if (event.key === "a") { if (cards().every((c) => marked.has(c.item.row))) unmark(); else cards().forEach((c) => mark(c, true)); }
  else if (event.key === " " && current) play(current);
  else if (event.key === "Enter" && current && !event.target.closest("button")) openClip(current.item);
  else if (event.key === "/") at("where").focus();
  else if (event.key === "?") at("keys").showModal();
  else return;
  event.preventDefault();
}
