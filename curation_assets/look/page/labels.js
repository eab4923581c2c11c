// Labels: given to the clip at hand or to all that are marked, and held against the rules.

import { asked, ask, at, el, fault, inForce, judge, many, state } from "/page/look.js";
import { drawRules, drawShows } from "/page/funnel.js";
import { atHand, redrawLabels, resetGrid } from "/page/grid.js";

const KEEP = "keep";
const DROP = "drop";
const share = (n) => (n === null ? "–" : `${(100 * n).toFixed(0)} %`);

// A label is one word, as rules name it; reading_back.py makes tags of other tools one in the same way.
const word = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");

export async function label(name, holds, items = atHand()) {
  if (!items.length) return;
  const all = holds === null ? !items.every((item) => item.labels.includes(name)) : holds;
  try {
    const answer = await fetch("/api/label", {
      method: "POST",
      headers: { "content-type": "application/json", "x-curation-look": "1" },
      body: JSON.stringify({ clips: items.map((item) => [item.dataset, item.clip_id]), label: name, holds: all }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    const rows = new Set(items.map((item) => item.row));
    const shown = [...document.querySelectorAll(".card")].map((card) => card.item).filter((item) => rows.has(item.row)); // the same clip in the grid and beside a number
    for (const item of new Set([...items, ...shown])) {
      const others = item.labels.filter((l) => l !== name && !(all && [KEEP, DROP].includes(name) && [KEEP, DROP].includes(l)));
      item.labels = (all ? [...others, name] : others).sort();
    }
    fault(null);
    redrawLabels();
    if (inForce().some((rule) => rule.text.includes("label."))) await judge();
    else await drawAgreement();
  } catch (error) { fault(error); }
}

export async function drawAgreement() {
  const told = await ask("agreement", asked());
  state.labelNames = told.names;
  drawShows();
  const box = at("agreement");
  box.hidden = !(told.keep || told.drop);
  if (box.hidden) return;
  const fits = told.fits.map((fit) => {
    const rule = inForce()[fit.rule];
    const number = rule.numbers[fit.number];
    const now = number.now ?? number.value;
    const same = Math.abs(fit.value - now) <= 1e-9 * Math.max(1, Math.abs(now));
    const said = `${number.name} ${number.op} ${fit.value}: agrees with ${fit.agreed} of ${fit.of}`;
    return el("li", {}, same ? `${said}, as it is ` : `${said} `, same ? null : el("button", { type: "button", onclick: () => take(rule, number, fit.value) }, "take it"));
  });
  const wrong = told.keep - told.kept_keep + told.kept_drop;
  box.replaceChildren(el("h2", {}, "against labels"),
    el("p", {}, `Of ${many(told.keep)} labelled ${KEEP} the rules keep ${many(told.kept_keep)} (recall ${share(told.recall)}), of ${many(told.drop)} labelled ${DROP}, ${many(told.kept_drop)} `
      + `(precision ${share(told.precision)}). `, wrong ? el("button", { type: "button", onclick: () => { state.show = at("show").value = "disagree"; resetGrid(); } }, `see the ${many(wrong)} that disagree`) : null),
    el("p", {}, fits.length ? "Where each number alone would agree with most of the labelled clips that all other rules let by:" : ""),
    el("ul", {}, ...fits));
}

function take(rule, number, value) {
  number.now = value;
  state.active = { rule, number: rule.numbers.indexOf(number) };
  drawRules();
  judge().then(resetGrid);
}

export function setUpLabels() {
  at("labels").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = word(event.target.name_.value);
    event.target.name_.value = name;
    if (name) label(name, null);
  });
  at("labels").querySelectorAll("button[data-label]").forEach((b) => b.addEventListener("click", () => label(b.dataset.label, null)));
}
