// A lasso: a rectangle that is drawn over the grid with the mouse marks the clips that it meets; with shift, beside those that are marked.

import { at, el } from "/page/look.js";

const LEAST = 6; // pixels that the mouse moves before it is no click

export function setUpLasso(cards, mark, unmark) {
  const grid = at("grid");
  grid.addEventListener("dragstart", (event) => event.preventDefault()); // pictures would be dragged away
  grid.parentElement.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || !grid.contains(event.target) || event.target.closest("video, button") || grid.classList.contains("list")) return;
    const origin = grid.getBoundingClientRect();
    const start = { x: event.clientX - origin.left, y: event.clientY - origin.top }; // of the grid, so that it may be scrolled meanwhile
    let box = null;
    const drawn = (now) => {
      const moved = grid.getBoundingClientRect();
      const from = { x: start.x + moved.left, y: start.y + moved.top };
      return { left: Math.min(from.x, now.clientX), top: Math.min(from.y, now.clientY), right: Math.max(from.x, now.clientX), bottom: Math.max(from.y, now.clientY) };
    };
    const move = (now) => {
      const r = drawn(now);
      if (!box && r.right - r.left < LEAST && r.bottom - r.top < LEAST) return;
      if (!box) { box = el("div", { id: "lasso" }); document.body.append(box); }
      Object.assign(box.style, { left: `${r.left}px`, top: `${r.top}px`, width: `${r.right - r.left}px`, height: `${r.bottom - r.top}px` });
      now.preventDefault();
    };
    const end = (now) => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
      if (!box) return;
      box.remove();
      const swallow = (click) => { click.stopPropagation(); click.preventDefault(); };
      document.addEventListener("click", swallow, { capture: true, once: true }); // the one that this drag may end with, and no other
      setTimeout(() => document.removeEventListener("click", swallow, { capture: true }), 0);
      if (now.type === "pointercancel") return;
      const r = drawn(now);
      if (!now.shiftKey) unmark();
      for (const card of cards()) {
        const c = card.getBoundingClientRect();
        if (c.left < r.right && c.right > r.left && c.top < r.bottom && c.bottom > r.top) mark(card, true);
      }
    };
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  });
}
