// Concepts: a line for each cluster of clips that show alike, with those nearest to its centre; a click shows all of its clips in the grid.

import { ask, asked, at, awaited, el, fault, many, state, tab } from "/page/look.js";
import { picture, stopGrid } from "/page/grid.js";

export async function drawConcepts() {
  const wanted = stopGrid();
  try {
    const told = await awaited(ask("concepts", { ...asked(), show: state.show, where: state.where }));
    if (!wanted()) return;
    at("grid").classList.add("list");
    at("grid").replaceChildren(...told.concepts.map((one) => el("button", {
      class: "concept", type: "button",
      onclick: () => { state.where = at("where").value = `concept = ${one.concept}`; tab("clips"); },
    },
    el("b", {}, `concept ${one.concept}`),
    el("span", {}, `${many(one.rows)} ${state.collection.of}, ${many(one.kept)} kept`),
    el("span", { class: "strip" }, ...one.nearest.map((clip) => el("img", { loading: "lazy", alt: clip.clip_id, title: clip.clip_id, src: picture(clip.shard, clip.clip_id) }))))));
    at("more").textContent = told.without ? `${many(told.without)} have no embedding, and no concept` : "";
    fault(null);
  } catch (error) { if (wanted()) fault(error); }
}
