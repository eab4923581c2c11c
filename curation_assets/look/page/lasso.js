// A lasso: a rectangle that is drawn over the grid with the mouse marks the clips that it meets; with shift, beside those that are marked.
// At the upper and lower end of what is seen the grid scrolls on, the faster the farther out, and loads what comes.

import { at, el } from "/page/look.js";

const LEAST = 6; // pixels that the mouse moves before it is no click
const EDGE = 48; // pixels from the ends of what is seen, within which it scrolls
const SPEED = 0.25; // pixels a frame, for each pixel beyond that
const FASTEST = 40;

export function setUpLasso(cards, mark, unmark) {
  const grid = at("grid");
  grid.addEventListener("dragstart", (event) => event.preventDefault()); // pictures would be dragged away
  grid.parentElement.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || !grid.contains(event.target) || event.target.closest("video, button") || grid.classList.contains("list")) return;
    const origin = grid.getBoundingClientRect();
    const start = { x: event.clientX - origin.left, y: event.clientY - origin.top }; // of the grid, so that it may be scrolled meanwhile
    const scroller = grid.parentElement;
    let box = null, last = event;
    const drawn = (now) => {
      const moved = grid.getBoundingClientRect();
      const from = { x: start.x + moved.left, y: start.y + moved.top };
      return { left: Math.min(from.x, now.clientX), top: Math.min(from.y, now.clientY), right: Math.max(from.x, now.clientX), bottom: Math.max(from.y, now.clientY) };
    };
    const beyond = () => {
      const seen = scroller.getBoundingClientRect();
      return Math.min(0, last.clientY - seen.top - EDGE) + Math.max(0, last.clientY - seen.bottom + EDGE);
    };
    const scroll = () => {
      if (!box) return;
      const by = beyond();
      if (by) { scroller.scrollTop += Math.max(-FASTEST, Math.min(FASTEST, by * SPEED)); draw(); }
      requestAnimationFrame(scroll);
    };
    const draw = () => {
      const r = drawn(last);
      const seen = scroller.getBoundingClientRect();
      const top = Math.max(r.top, seen.top), bottom = Math.min(r.bottom, seen.bottom); // what has scrolled away is not drawn over the rest of the page
      Object.assign(box.style, { left: `${r.left}px`, top: `${top}px`, width: `${r.right - r.left}px`, height: `${Math.max(0, bottom - top)}px` });
    };
    const move = (now) => {
      last = now;
      const r = drawn(now);
      if (!box && r.right - r.left < LEAST && r.bottom - r.top < LEAST) return;
      if (!box) {
        box = el("div", { id: "lasso" });
        document.body.append(box);
        scroller.addEventListener("scroll", draw); // by the wheel too
        requestAnimationFrame(scroll);
      }
      draw();
      now.preventDefault();
    };
    const end = (now) => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
      if (!box) return;
      scroller.removeEventListener("scroll", draw);
      box.remove();
      box = null;
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
