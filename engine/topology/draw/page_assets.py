"""Style and script of the page; colours are variables that `page` writes from the palette."""

STYLE = """
html, body { margin: 0; height: 100%; overflow: hidden; background: var(--paper); color: var(--ink);
  font: 13px/1.45 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
#view { position: absolute; inset: 0; cursor: grab; touch-action: none; }
#view.moving { cursor: grabbing; }
#view svg { position: absolute; left: 0; top: 0; transform-origin: 0 0; overflow: visible; user-select: none; }
#view svg.away { display: none; }
.edge { cursor: help; }
.edge .grip { stroke: transparent; stroke-width: 12; stroke-dasharray: none; fill: none; pointer-events: stroke; }
.node-box, .hub { cursor: pointer; }
.node, .edge { transition: opacity .12s; }
svg.chosen .node, svg.chosen .edge { opacity: .13; }
svg.chosen .near { opacity: 1; }
.edge:hover path:not(.grip), svg.chosen .edge.near path:not(.grip) { stroke-width: 2.2; }
.node.picked > path, .node.picked > polygon { stroke-width: 2; }
#details { position: absolute; box-sizing: border-box; max-width: min(540px, 90vw); max-height: calc(100vh - 84px);
  overflow: hidden;
  padding: 10px 14px; background: var(--box); border: 1px solid var(--line); border-radius: 8px;
  box-shadow: 0 6px 24px #0003; pointer-events: none; }
#details.long { max-width: min(1080px, 94vw); columns: 2; column-gap: 24px; }
#details.small { max-width: 98vw; font-size: 11px; line-height: 1.3; }
#details h2 { margin: 0; font-size: 15px; }
#details h3 { margin: 0; font-size: 13px; }
#details p { margin: 3px 0 6px; color: var(--soft); }
#details .trouble { color: var(--feedback); }
#details table { border-collapse: collapse; margin-top: 6px; width: 100%; }
#details th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); }
#details td, #details th { padding: 2px 10px 2px 0; vertical-align: top; overflow-wrap: anywhere; }
#details th, #details td:first-child { white-space: nowrap; }
#details td:nth-child(2) { min-width: 96px; }
#details code { font-size: .92em; }
#details .written td:nth-child(-n+2) { font-weight: 600; }
#details .default td { color: var(--soft); }
nav { position: absolute; left: 0; right: 0; bottom: 0; padding: 8px 12px; display: flex; gap: 12px;
  align-items: center; justify-content: space-between; pointer-events: none; }
nav > div { pointer-events: auto; background: var(--box); border: 1px solid var(--line); border-radius: 8px;
  padding: 5px 9px; }
#legend { display: flex; flex-wrap: wrap; gap: 2px 14px; color: var(--soft); }
#legend i { display: inline-block; width: 12px; height: 12px; margin-right: 5px; border: 1px solid var(--line);
  vertical-align: -2px; border-radius: 3px; }
#legend .loop { display: inline-block; width: 20px; border-top: 2px dashed var(--feedback); margin-right: 5px;
  vertical-align: 4px; }
#tools { white-space: nowrap; }
button { font: inherit; color: var(--ink); background: none; border: 0; padding: 2px 8px; cursor: pointer;
  border-radius: 5px; }
button:hover { background: var(--cluster); }
""".strip()

BUTTONS = """
<button data-zoom="1.25" title="Zoom in (+)">+</button><button data-zoom="0.8" title="Zoom out (-)">−</button>
<button id="fit" title="Show all (0)">fit</button>
<button id="ports" title="With ports or boxes only (p)">ports</button>
<button id="theme" title="Light or dark">◐</button>
""".strip()

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const view = document.getElementById("view"), [boxes, ports] = view.querySelectorAll("svg");
const details = document.getElementById("details"), nav = document.querySelector("nav");
const LEGIBLE = 0.75;
let svg = ports, scale = 1, left = 0, top_ = 0, picked = null;

const item = id => document.getElementById((svg === boxes ? "o" : "") + id);
const idOf = element => element.id.replace(/^o/, "");
const room = () => [view.clientWidth, view.clientHeight - nav.offsetHeight];
const fitting = of => Math.min(room()[0] / of.viewBox.baseVal.width, room()[1] / of.viewBox.baseVal.height, 1.5);

function place() { svg.style.transform = `translate(${left}px, ${top_}px) scale(${scale})`; }
function fit() {
  const size = svg.viewBox.baseVal;
  scale = fitting(svg);
  left = (room()[0] - size.width * scale) / 2;
  top_ = (room()[1] - size.height * scale) / 2;
  place();
}
function show(drawing) {
  svg = drawing;
  for (const each of [boxes, ports]) each.classList.toggle("away", each !== svg);
  document.getElementById("ports").textContent = svg === ports ? "boxes" : "ports";
  choose(picked);
  fit();
}
function zoom(factor, x, y) {
  const next = Math.min(Math.max(scale * factor, 0.05), 12);
  left = x - (x - left) * next / scale;
  top_ = y - (y - top_) * next / scale;
  scale = next;
  place();
}
const zoomMiddle = factor => zoom(factor, view.clientWidth / 2, view.clientHeight / 2);

for (const each of [boxes, ports]) {
  each.setAttribute("width", each.viewBox.baseVal.width);
  each.setAttribute("height", each.viewBox.baseVal.height);
  each.querySelectorAll("title").forEach(title => title.remove());
  each.querySelectorAll(".edge > path, .edge a > path").forEach(path => {
    const grip = path.cloneNode();
    grip.setAttribute("class", "grip");
    grip.removeAttribute("stroke");
    path.after(grip);
  });
}
view.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
}, { passive: false });

let drag = null, moved = false;
view.addEventListener("pointerdown", event => {
  if (event.button === 0) { drag = [event.clientX, event.clientY]; moved = false; }
});
window.addEventListener("pointermove", event => {
  if (!drag) return;
  const dx = event.clientX - drag[0], dy = event.clientY - drag[1];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  moved = true;
  view.classList.add("moving");
  left += dx; top_ += dy; drag = [event.clientX, event.clientY];
  place();
});
window.addEventListener("pointerup", () => { drag = null; view.classList.remove("moving"); });

function choose(id) {
  picked = id;
  for (const each of [boxes, ports]) each.classList.toggle("chosen", each === svg && id !== null);
  view.querySelectorAll(".near, .picked").forEach(each => each.classList.remove("near", "picked"));
  if (id === null) return;
  item(id).classList.add("near", "picked");
  data.wires.forEach(([from, to], index) => {
    if (from !== id && to !== id) return;
    for (const other of [from, to, "w" + index]) item(other)?.classList.add("near");
  });
}
view.addEventListener("click", event => {
  if (moved) return;
  const box = event.target.closest(".node-box, .hub");
  choose(box && !box.classList.contains("picked") ? idOf(box) : null);
});
function told(id) {
  if (!id.startsWith("w")) return data.details[id];
  const [from, to, text] = data.wires[Number(id.slice(1))];
  if (svg === ports) return text;  // there each arrow is one wire; between boxes it stands for all of them
  const all = data.wires.filter(wire => wire[0] === from && wire[1] === to && from && to);
  return all.length ? all.map(wire => wire[2]).join("") : text;
}
view.addEventListener("mousemove", event => {
  const part = event.target.closest(".node-box, .hub, .edge");
  details.hidden = !part || drag !== null;
  if (details.hidden) return;
  if (details.dataset.of !== part.id) { details.innerHTML = told(idOf(part)); details.dataset.of = part.id; }
  const x = event.clientX + 18, y = event.clientY + 14;
  const cut = () => details.scrollHeight > details.clientHeight || details.scrollWidth > details.clientWidth;
  details.classList.remove("long", "small");
  for (const way of ["long", "small"]) if (cut()) details.classList.add(way);
  const flip = x + details.offsetWidth > innerWidth ? event.clientX - details.offsetWidth - 18 : x;
  details.style.left = Math.max(4, flip) + "px";
  details.style.top = Math.max(4, Math.min(y, room()[1] - details.offsetHeight - 4)) + "px";
});
view.addEventListener("mouseleave", () => { details.hidden = true; });
document.querySelectorAll("[data-zoom]").forEach(button =>
  button.addEventListener("click", () => zoomMiddle(Number(button.dataset.zoom))));
document.getElementById("fit").addEventListener("click", fit);
const toggle = () => show(svg === ports ? boxes : ports);
document.getElementById("ports").addEventListener("click", toggle);
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
window.addEventListener("keydown", event => {
  if (event.key === "+" || event.key === "=") zoomMiddle(1.25);
  else if (event.key === "-") zoomMiddle(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "p") toggle();
  else if (event.key === "Escape") choose(null);
});
window.addEventListener("resize", fit);
show(fitting(ports) < LEGIBLE ? boxes : ports);
""".strip()
