// The rules: how many each leaves, histograms with the numbers that can be moved, the clips beside a number, and the lines for the recipe.

import { asked, ask, at, el, hours, inForce, many, moved, short, state, textOf } from "/page/look.js";
import { card } from "/page/grid.js";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function drawRules() {
  at("rules").replaceChildren(...state.rules.map(ruleOf));
}

function ruleOf(rule, index) {
  const box = el("input", { type: "checkbox", "aria-label": `with ${rule.text}`, onchange: (e) => { rule.on = e.target.checked; moved(); } });
  box.checked = rule.on;
  const left = el("span", { class: "left" });
  const made = el("section", { class: "rule", "data-rule": index },
    el("header", {}, box, el("code", {}, textOf(rule)), left), el("div", { class: "meter" }, el("i")));
  rule.numbers.forEach((number, i) => { if (number.value !== null) made.append(numberOf(rule, number, i)); });
  return made;
}

function numberOf(rule, number, i) {
  const scale = svg("svg", { viewBox: `0 0 ${state.collection.bins} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `histogram of ${number.name}` });
  const range = el("input", { type: "range", min: number.low, max: number.high, step: "any", "aria-label": `${number.name} ${number.op}` });
  range.value = number.now ?? number.value;
  const unit = 10 ** Math.floor(Math.log10((number.high - number.low) / 400));
  const place = (value) => {
    number.now = Number((Math.round(value / unit) * unit).toPrecision(6));
    if (number.now === number.value) number.now = null;
    range.value = number.now ?? number.value;
    state.active = { rule, number: i };
    moved();
    drawNumber(made, number);
  };
  range.addEventListener("input", () => place(range.value));
  range.addEventListener("focus", () => { state.active = { rule, number: i }; edgeOf(); });
  const drag = (event) => {
    const box = scale.getBoundingClientRect();
    place(number.low + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (number.high - number.low));
  };
  scale.addEventListener("pointerdown", (event) => { scale.setPointerCapture(event.pointerId); drag(event); });
  scale.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  const unknown = number.all[number.all.length - 1];
  const made = el("div", { class: "number", "data-number": i }, scale, range,
    el("div", { class: "ends" }, el("span", {}, short(number.low)), el("b"), el("span", {}, short(number.high))),
    unknown ? el("div", { class: "ends" }, `${many(unknown)} unknown, which no comparison lets by`) : null);
  drawNumber(made, number);
  return made;
}

function drawNumber(made, number) {
  const bins = state.collection.bins;
  const most = Math.sqrt(Math.max(1, ...number.all.slice(0, bins)));
  const high = (count) => (count ? Math.max(2, (Math.sqrt(count) / most) * 96) : 0);
  const path = (counts) => counts.slice(0, bins).map((c, i) => `M${i} 100V${100 - high(c)}H${i + 1}V100`).join("");
  const value = number.now ?? number.value;
  const x = ((value - number.low) / (number.high - number.low)) * bins;
  const lower = number.op.startsWith(">");
  const hatch = svg("pattern", { id: `hatch-${number.name}-${number.op}`, width: 1.2, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "skewX(-20)" });
  hatch.append(svg("rect", { width: 0.35, height: 8, fill: "currentColor", opacity: 0.28 }));
  const dropped = svg("rect", { x: lower ? 0 : x, y: 0, width: Math.max(0, lower ? x : bins - x), height: 100, fill: `url(#${CSS.escape(hatch.id)})` });
  const parts = [hatch, svg("path", { class: "all", d: path(number.all) })];
  if (number.alive) parts.push(svg("path", { class: "alive", d: path(number.alive) }));
  parts.push(dropped, svg("line", { class: "at", x1: x, x2: x, y1: -4, y2: 100 }));
  number.all.slice(0, bins).forEach((count, i) => {
    const bar = svg("rect", { x: i, y: 0, width: 1, height: 100, fill: "transparent" });
    const title = svg("title", {});
    const from = number.low + (i / bins) * (number.high - number.low);
    title.textContent = `${short(from)} to ${short(from + (number.high - number.low) / bins)}: ${many(count)}${number.alive ? `, of them ${many(number.alive[i])} by all other rules` : ""}`;
    bar.append(title);
    parts.push(bar);
  });
  made.querySelector("svg").replaceChildren(...parts);
  made.querySelector("b").textContent = `${number.op} ${short(value)}${number.now === null ? (number.written.startsWith("p") ? ` (${number.written})` : "") : ` (was ${number.written})`}`;
}

export function drawFunnel() {
  const judged = state.judged;
  const all = judged.steps[0];
  const last = judged.steps[judged.steps.length - 1];
  const changed = judged.came.rows || judged.went.rows || last.rows !== judged.before.rows;
  const what = state.collection.of;
  at("summary").replaceChildren(
    el("b", {}, many(last.rows)), ` ${last.rows === 1 ? what.replace(/s$/, "") : what} kept of ${many(all.rows)}`,
    el("p", {}, `${hours(last.ms)} of ${hours(all.ms)}`),
    changed ? el("p", {}, el("span", {}, `recipe: ${many(judged.before.rows)}, ${hours(judged.before.ms)}.`), " ", el("span", {}, `+ ${many(judged.came.rows)} come in (${hours(judged.came.ms)}),`), " ", el("span", {}, `− ${many(judged.went.rows)} go out (${hours(judged.went.ms)})`))
      : el("p", {}, "as in the recipe"));
  const steps = judged.steps.slice(judged.steps.length - inForce().length);
  const histograms = [...judged.histograms];
  let place = 0;
  state.rules.forEach((rule, index) => {
    const box = document.querySelector(`[data-rule="${index}"]`);
    box.classList.toggle("off", !rule.on);
    box.querySelector("code").textContent = textOf(rule);
    const step = rule.on ? steps[place++] : null;
    box.querySelector(".left").textContent = step ? `${many(step.rows)} left · ${hours(step.ms)}` : "not applied";
    box.querySelector(".meter i").style.width = `${step && all.rows ? (step.rows / all.rows) * 100 : 0}%`;
    rule.numbers.forEach((number, i) => {
      const found = rule.on ? histograms.shift() : null;
      number.alive = found ? found.alive : null;
      const drawn = box.querySelector(`[data-number="${i}"]`);
      if (drawn) drawNumber(drawn, number);
    });
  });
}

export function drawShows() {
  const names = state.labelNames ?? [];
  at("names").replaceChildren(...names.map((name) => el("option", { value: name })));
  const shows = [["all", "all candidates"], ["kept", "kept"], ["dropped", "dropped"], ["came", "come in"], ["went", "go out"], ["copies", "copies"],
    ...inForce().map((rule, i) => [`rule:${i}`, `dropped by ${textOf(rule)}`]), ...names.map((name) => [`label:${name}`, `labelled ${name}`]),
    ...(names.includes("keep") || names.includes("drop") ? [["disagree", "labels and rules disagree"]] : []),
    ...(state.shard ? [[state.shard, `of shard ${state.shard.slice(6)}`]] : [])];
  if (!shows.some(([value]) => value === state.show)) state.show = "all";
  at("show").replaceChildren(...shows.map(([value, name]) => el("option", { value }, name)));
  at("show").value = state.show;
}

export async function edgeOf() {
  const place = state.active ? inForce().indexOf(state.active.rule) : -1;
  at("edge").hidden = place < 0 || state.tab === "failed";
  if (place < 0) return;
  const { rule, number } = state.active;
  const near = await ask("near", { ...asked(), rule: place, number });
  const inside = near.inside.slice(0, 4);
  const outside = near.outside.slice(0, 4).reverse();
  const moving = rule.numbers[number];
  const side = (items, words) => el("div", {}, el("h2", {}, words), el("div", { class: "side" }, ...items.map((item) => card(item))));
  at("edge").replaceChildren(el("div", { class: "sides" },
    side(outside, `just outside ${moving.name} ${moving.op} ${short(moving.now ?? moving.value)}: by all other rules they would be kept`),
    el("div", { class: "wall", role: "separator" }),
    side(inside, "just inside")));
}

const quoted = (text) => (/^[a-z_]+$/.test(text) ? text : JSON.stringify(text));

export function writeYaml() {
  const changed = state.rules.some((rule) => !rule.on || rule.added || textOf(rule) !== rule.text);
  at("yaml").hidden = !changed;
  const lines = [];
  const plain = [];
  for (const [key, about] of [["where", true], ["where_tracks", false]]) {
    const rules = state.rules.filter((rule) => rule.about_clip === about);
    if (!rules.length) continue;
    lines.push(`${key}:\n`);
    plain.push(`${key}:`);
    for (const rule of rules) {
      const now = textOf(rule);
      const same = rule.on && !rule.added && now === rule.text;
      if (!same && !rule.added) lines.push(el("del", {}, `−  - ${quoted(rule.text)}`), "\n");
      if (rule.on) lines.push(same ? `   - ${quoted(now)}` : el("ins", {}, `+  - ${quoted(now)}`), "\n");
      if (rule.on) plain.push(`  - ${quoted(now)}`);
    }
  }
  at("yaml").querySelector("pre").replaceChildren(...lines);
  at("copy").onclick = async () => { await navigator.clipboard.writeText(`${plain.join("\n")}\n`); at("copy").textContent = "copied"; setTimeout(() => { at("copy").textContent = "copy"; }, 1500); };
  at("yaml").querySelector("h2").textContent = `for ${state.collection.recipe || "the recipe"}${state.collection.subset ? `, subset ${state.collection.subset}` : ""}`;
}
