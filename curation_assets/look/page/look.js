// The state of the page and what asks the server: which collection, which rules, what is shown. funnel.js has the rules, grid.js the clips, clip.js one of them.

import { drawFunnel, drawRules, edgeOf, writeYaml } from "/page/funnel.js";
import { drawFailed, resetGrid, setUpGrid } from "/page/grid.js";
import { setUpClip } from "/page/clip.js";
import { drawConcepts } from "/page/concepts.js";
import { drawAgreement, setUpLabels } from "/page/labels.js";

export const state = { collection: null, rules: [], show: "all", where: "", sort: "", down: true, shard: null, tab: "clips", active: null, judged: null, like: null, later: 0 };
export const at = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

export const many = (n) => n.toLocaleString("en");
export const hours = (ms) => (ms >= 3_600_000 ? `${(ms / 3_600_000).toFixed(1)} h` : ms >= 60_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 1000).toFixed(1)} s`);
export const short = (n) => (n === null || n === undefined ? "unknown" : String(Number(Number(n).toPrecision(4))));

export async function ask(name, query = {}) {
  const answer = await fetch(`/api/${name}?${new URLSearchParams(query)}`);
  const told = await answer.json();
  if (answer.ok) return told;
  if (told.changed) await open(state.collection.key);
  throw new Error(told.error);
}

const SOON = 300; // milliseconds that an answer may take before the page says that it is awaited
let waits = 0;

// What was asked for; what is seen until then is of before, which is said where it takes longer than a moment.
export async function awaited(asking) {
  let said = false;
  const soon = setTimeout(() => { said = true; waits += 1; at("waiting").hidden = false; }, SOON);
  try { return await asking; } finally {
    clearTimeout(soon);
    if (said) waits -= 1;
    at("waiting").hidden = !waits;
  }
}

export function textOf(rule) {
  return rule.numbers.some((n) => n.now !== null)
    ? rule.parts.map((part, i) => part + (i < rule.numbers.length ? (rule.numbers[i].now === null ? rule.numbers[i].written : String(rule.numbers[i].now)) : "")).join("")
    : rule.text;
}

export const inForce = () => state.rules.filter((rule) => rule.on);
export const asked = () => ({
  key: state.collection.key,
  version: state.collection.version,
  rules: JSON.stringify(inForce().map((rule) => [textOf(rule), rule.about_clip])),
});

export function fault(error) {
  at("fault").hidden = !error;
  at("fault").textContent = error ? error.message : "";
}

const held = (rule) => ({ ...rule, on: true, numbers: rule.numbers.map((n) => ({ ...n, now: null })) });

// What is asked of a collection or of rules that are not there yet would be lost when they come.
const usable = (...ids) => ids.forEach((id) => { at(id).querySelector("fieldset").disabled = false; });

let opened = 0;
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Says how far the reading of a collection is, until `what` is there.
async function withProgress(key, what) {
  let waiting = true;
  const done = what.finally(() => { waiting = false; });
  await Promise.race([done, pause(500)]);
  while (waiting) {
    const told = await ask("standing", { key });
    if (waiting && told.total) at("notice").textContent = `reading tables: ${many(told.done)} of ${many(told.total)} ${told.unit} …`;
    await Promise.race([done, pause(500)]);
  }
  return done;
}

async function prepared(key) {
  for (let told = { ready: false }; !told.ready; ) told = await ask("standing", { key });
  return ask("collection", { key });
}

// Whether the table is what it would be now takes a while to find out where shards are many.
async function sayStanding(mine, collection) {
  const words = (stale) => `${collection.dataset}: ${collection.judged ? (stale ? "as it was judged; what it is made from has changed since: curation run" : "as its table in force has it") : `from the tables of the shards${collection.subset ? ": no run has judged it yet" : ""}`}${collection.criterion === "all" ? "" : `; before the criterion ${collection.criterion}`}`;
  at("notice").textContent = words(collection.stale);
  for (let stale = collection.stale; stale === null && mine === opened;) {
    await pause(500);
    ({ stale } = await ask("standing", { key: collection.key }));
    if (mine === opened) at("notice").textContent = words(stale);
  }
}

async function open(key) {
  fault(null);
  opened += 1;
  const mine = opened;
  at("notice").textContent = "reading tables …";
  at("add").querySelector("fieldset").disabled = true;
  let collection = await withProgress(key, ask("collection", { key }));
  if (!collection.ready) { // the first clips are seen while columns are made
    Object.assign(state, { collection, rules: [], show: "all", where: "", sort: "", active: null, judged: null, like: null });
    usable("tabs", "tools");
    await resetGrid();
    collection = await withProgress(key, prepared(key));
  }
  if (mine !== opened) return;
  Object.assign(state, { collection, rules: collection.rules.map(held), show: state.shard ?? "all", sort: "", active: null, judged: null, like: null });
  at("like").value = "";
  sayStanding(mine, collection).catch(fault);
  at("labels").title = collection.labelled.length ? "" : "the recipe names no file of labels: add labels: {file: labels.jsonl}";
  at("collection").value = key;
  document.querySelector('[data-tab="concepts"]').hidden = !collection.concepts;
  history.replaceState(null, "", `#${encodeURIComponent(key)}${state.shard ? `/${state.shard}` : ""}`);
  at("down").hidden = true; // ids have one order
  at("sort").replaceChildren(el("option", { value: "" }, "id"), ...collection.numbers.map((n) => el("option", { value: n }, n)));
  drawRules();
  usable("tabs", "tools", "labels", "add");
  await resetGrid(); // what is seen comes before what is counted
  await judge();
}

let judging = false;
let again = false;

// While an answer is awaited, further moves wait, and only the last of them is asked.
export async function judge() {
  if (judging) { again = true; return; }
  judging = true;
  try {
    state.judged = await ask("judge", asked());
    fault(null);
    drawFunnel();
    writeYaml();
    await edgeOf();
    await drawAgreement();
  } catch (error) { fault(error); }
  judging = false;
  if (again) { again = false; await judge(); }
}

export function moved() {
  judge();
  clearTimeout(state.later);
  state.later = setTimeout(resetGrid, 350);
}

export async function addRule(text) {
  try {
    const rule = await ask("rule", { ...asked(), text });
    state.rules.push({ ...held(rule), added: true });
    fault(null);
    drawRules();
    moved();
    return true;
  } catch (error) { fault(error); return false; }
}

export function tab(name) {
  state.tab = name;
  for (const button of document.querySelectorAll("#tabs button")) button.setAttribute("aria-pressed", button.dataset.tab === name);
  at("tools").hidden = at("labels").hidden = name === "failed" || name === "concepts";
  at("head").hidden = at("tools").hidden;
  at("edge").hidden = name === "failed" || !state.active;
  if (name === "failed") drawFailed();
  else if (name === "concepts") drawConcepts();
  else { state.show = at("show").value = name === "copies" ? "copies" : "all"; resetGrid(); }
}

async function begin() {
  const collections = await ask("collections");
  at("collection").replaceChildren(
    ...collections.map((c) => el("option", { value: c.key }, c.declared ? `${c.key} (${c.of})` : `all clips of ${c.key}`)));
  at("collection").addEventListener("change", (event) => { state.shard = null; tab("clips"); open(event.target.value).catch(fault); });
  document.querySelectorAll("#tabs button").forEach((b) => b.addEventListener("click", () => tab(b.dataset.tab)));
  at("add").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = event.target.rule.value.trim();
    if (text && (await addRule(text))) event.target.reset();
  });
  at("reset").addEventListener("click", () => { state.rules = state.collection.rules.map(held); state.active = null; drawRules(); moved(); });
  at("help").addEventListener("click", () => at("keys").showModal());
  setUpGrid();
  setUpClip();
  setUpLabels();
  const [named, shown] = decodeURIComponent(location.hash.slice(1)).split("/");
  const known = collections.some((c) => c.key === named);
  if (known && shown?.startsWith("shard:")) state.shard = shown; // where a link of Dagster's events leads
  await open(known ? named : collections[0].key);
}

begin().catch(fault);
