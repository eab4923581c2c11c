// The boxes of a clip's tracks, drawn over its video as it plays: each at its last time, until the track ends.

const SVG = "http://www.w3.org/2000/svg";
const made = (name, attributes) => {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
};

// The box of a track at a moment of the video, milliseconds; null before it begins and after it has ended.
export function boxAt(track, now) {
  const times = track.frame_ms;
  const step = times.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 1000;
  if (now < times[0] || now > times[times.length - 1] + step) return null;
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= now) low = middle; else high = middle - 1;
  }
  return track.boxes[low];
}

export function drawBoxes(screen, clip) {
  const video = screen.querySelector("video");
  if (!video || !clip.tracks.length || !clip.size.width) return;
  const { width, height } = clip.size;
  const layer = made("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMidYMid meet", "aria-hidden": "true" });
  const marks = clip.tracks.map((track) => {
    const group = made("g", { "data-track": track.track_id });
    const box = made("rect", {});
    const words = made("text", { "font-size": height / 18 });
    words.textContent = track.label ?? "";
    group.append(box, words);
    layer.append(group);
    return { track, group, box, words };
  });
  screen.append(layer);
  const draw = () => {
    if (!screen.isConnected) return;
    for (const { track, group, box, words } of marks) {
      const found = boxAt(track, video.currentTime * 1000);
      group.style.display = found ? "" : "none";
      if (!found) continue;
      const [x, y, w, h] = found;
      for (const [name, value] of Object.entries({ x, y, width: w, height: h })) box.setAttribute(name, value);
      words.setAttribute("x", x + 2);
      words.setAttribute("y", Math.max(y - 3, height / 18));
    }
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
}
