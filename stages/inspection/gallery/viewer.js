// One image large: layers to switch, zoom, what lies below the pointer, comparison of two layers, marks.
"use strict";

const viewer = { number: -1, image: null, picture: null, on: new Set(), chosen: null, zoom: 1, x: 0, y: 0, from: null };
const dialog = () => document.getElementById("viewer");
const part = (name) => dialog().querySelector(`.${name}`);

function openViewer(number, layer) {
  viewer.from = document.activeElement;
  if (layer !== undefined) viewer.on = new Set(layer < 0 ? [] : [layer]);
  if (!dialog().open) dialog().showModal();
  return showInViewer(number);
}

function closeViewer() {
  if (dialog().open) dialog().close();
}

// The dialog is closed, by its button, by Escape, or by another view in the address.
function viewerClosed() {
  viewer.number = -1;
  Object.assign(state, { open: "", layers: "", first: "", second: "" });
  showRows();
  writeAddress();
  if (viewer.from?.isConnected) viewer.from.focus();
}

async function showInViewer(number) {
  Object.assign(viewer, { number, image: null, picture: null, chosen: null, zoom: 1, x: 0, y: 0 });
  const row = tagmask.rows[number];
  part("name").textContent = row.id;
  part("about").textContent = [...tagsOf(row), numbersOf(row), `${row.w} x ${row.h} pixels`].filter(Boolean).join(" · ");
  part("path").textContent = row.path;
  part("copy").hidden = !row.path;
  part("problem").textContent = "";
  try {
    const image = await loadImage(number);
    const picture = await fullPictureOf(image, number);
    if (viewer.number !== number) return;
    viewer.image = image;
    viewer.picture = picture;
  } catch (error) {
    part("problem").textContent = error.message;
    return;
  }
  listLayers();
  drawViewer();
}

function step(by) {
  const at = listed.indexOf(viewer.number);
  const next = listed[at + by];
  if (next !== undefined) showInViewer(next);
}

const regionLayers = () => viewer.image.layers.map((layer, at) => at).filter((at) => viewer.image.layers[at].type === "regions");
const comparing = () => state.first !== "" && state.second !== "";
// The layer of masks on top: the one whose instances are listed and hovered.
function activeLayer() {
  const on = [...viewer.on].filter((at) => viewer.image.layers[at]?.type === "regions");
  return on.length ? viewer.image.layers[Math.max(...on)] : null;
}

function listLayers() {
  const layers = viewer.image.layers;
  viewer.on = new Set([...viewer.on].filter((at) => at < layers.length));
  part("layers").replaceChildren(...layers.map((layer, at) => element("label", {},
    element("input", { type: "checkbox", checked: viewer.on.has(at), onchange: () => toggleLayer(at) }),
    at < 9 ? element("kbd", {}, String(at + 1)) : null, layer.title)));
  for (const side of ["first", "second"]) {
    const options = regionLayers().map((at) => element("option", { value: String(at) }, layers[at].title));
    part(side).replaceChildren(element("option", { value: "" }, "-"), ...options);
    if (!regionLayers().includes(Number(state[side])) || state[side] === "") state[side] = "";
    part(side).value = state[side];
  }
}

function toggleLayer(at) {
  if (!viewer.image || at >= viewer.image.layers.length) return;
  if (viewer.on.has(at)) viewer.on.delete(at);
  else viewer.on.add(at);
  viewer.chosen = null;
  part("layers").querySelectorAll("input").forEach((box, i) => { box.checked = viewer.on.has(i); });
  drawViewer();
}

function drawViewer() {
  if (!viewer.picture) return;
  const canvas = part("canvas");
  Object.assign(canvas, enlarged(viewer.picture, 1024));
  const context = canvas.getContext("2d");
  context.drawImage(viewer.picture, 0, 0, canvas.width, canvas.height);
  const layers = viewer.image.layers;
  const view = panelView({ border: 1 });
  if (comparing()) drawDifference(context, layers[Number(state.first)], layers[Number(state.second)], view);
  else for (const at of [...viewer.on].sort((a, b) => a - b)) drawLayer(context, layers[at], view);
  const active = activeLayer();
  if (active && viewer.chosen !== null) {
    const region = active.regions[viewer.chosen];
    drawRegion(context, active, region, [255, 255, 255]);
  }
  part("legend").hidden = !comparing();
  if (comparing()) {
    part("legend").replaceChildren(
      element("i", { class: "swatch", style: `background:${css(FIRST)}` }), `${layers[Number(state.first)].title} alone `,
      element("i", { class: "swatch", style: `background:${css(SECOND)}` }), `${layers[Number(state.second)].title} alone`);
  }
  place();
  listInstances();
  state.open = tagmask.rows[viewer.number].id;
  state.layers = [...viewer.on].sort((a, b) => a - b).join(" ");
  writeAddress();
  const shown = [...viewer.on].sort((a, b) => a - b).map((at) => layers[at].title);
  canvas.setAttribute("aria-label", `${state.open}: ${comparing() ? "comparison" : shown.join(", ") || "the image alone"}`);
}

function place() {
  const [canvas, stage] = [part("canvas"), part("stage")];
  const fit = Math.min(stage.clientWidth / canvas.width, stage.clientHeight / canvas.height);
  canvas.style.width = `${canvas.width * fit}px`;
  canvas.style.height = `${canvas.height * fit}px`;
  canvas.style.transform = `translate(${viewer.x}px, ${viewer.y}px) scale(${viewer.zoom})`;
}

function zoomBy(factor, x = 0, y = 0) {
  const zoom = Math.min(Math.max(viewer.zoom * factor, 1), 16);
  const grown = zoom / viewer.zoom;
  viewer.x = zoom === 1 ? 0 : x - (x - viewer.x) * grown;
  viewer.y = zoom === 1 ? 0 : y - (y - viewer.y) * grown;
  viewer.zoom = zoom;
  place();
}

function listInstances() {
  const layer = activeLayer();
  const list = part("instances");
  if (!layer || layer.ranked) {
    list.replaceChildren();
    part("instances-of").textContent = layer ? "" : "Switch a layer of masks on to list its instances.";
    return;
  }
  const shown = shownRegions(layer, scoreShown());
  part("instances-of").textContent = `${layer.title}: ${shown.length} of ${layer.found ?? layer.regions.length}`;
  list.replaceChildren(...shown.map(({ region, index }) => {
    const mark = markOf(viewer.number, layer, region);
    return element("li", {}, element("button", {
      type: "button", "aria-pressed": String(viewer.chosen === index), onclick: () => choose(viewer.chosen === index ? null : index),
    }, element("i", { class: "swatch", style: `background:${css(regionColour(region, index, state.by))}` }),
    `${index + 1} ${describe(region)}, ${areaText(region.area)}`,
    mark ? element("span", { class: "tag mark" }, mark) : null));
  }));
}

const areaText = (area) => `${area} pixels`;

function choose(index) {
  viewer.chosen = index;
  drawViewer();
  if (index !== null) part("instances").querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
}

function chooseNext(by) {
  const layer = activeLayer();
  if (!layer) return;
  const indices = shownRegions(layer, scoreShown()).map(({ index }) => index);
  if (!indices.length) return;
  const at = indices.indexOf(viewer.chosen);
  choose(indices[at < 0 ? (by > 0 ? 0 : indices.length - 1) : (at + by + indices.length) % indices.length]);
}

function mark(text) {
  if (!viewer.image) return;
  const layer = activeLayer();
  const region = layer && !layer.ranked && viewer.chosen !== null ? layer.regions[viewer.chosen] : null;
  setMark(viewer.number, text, layer, region);
  const what = region ? `${layer.title} ${viewer.chosen + 1}` : "the image";
  part("said").textContent = text ? `${what}: marked ${text}` : `${what}: no mark`;
  listInstances();
}

function placeOf(event) {
  const box = part("canvas").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function hover(event) {
  const tip = part("tip");
  const layer = viewer.image && activeLayer();
  const held = layer ? regionsAt(layer, ...placeOf(event), scoreShown()) : [];
  tip.hidden = !held.length;
  if (!held.length) return;
  const lines = held.slice(0, 3).map(({ region, index }) => `${index + 1} ${describe(region)}, ${areaText(region.area)}`);
  tip.replaceChildren(...lines.map((line) => element("span", {}, line)));
  const box = part("stage").getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 14, Math.max(0, box.width - 190))}px`;
  tip.style.top = `${event.clientY - box.top + 14}px`;
}

function setUpViewer() {
  const stage = part("stage");
  let dragged = null;
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    dragged = { x: event.clientX - viewer.x, y: event.clientY - viewer.y, moved: false };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (dragged && viewer.zoom > 1) {
      dragged.moved ||= Math.hypot(event.clientX - dragged.x - viewer.x, event.clientY - dragged.y - viewer.y) > 4;
      viewer.x = event.clientX - dragged.x;
      viewer.y = event.clientY - dragged.y;
      place();
    } else hover(event);
  });
  stage.addEventListener("pointerup", (event) => {
    const layer = viewer.image && activeLayer();
    if (layer && dragged && !dragged.moved) choose(regionsAt(layer, ...placeOf(event), scoreShown())[0]?.index ?? null);
    dragged = null;
  });
  stage.addEventListener("pointerleave", () => { part("tip").hidden = true; });
  for (const [name, action] of Object.entries({
    close: closeViewer, before: () => step(-1), after: () => step(1), larger: () => zoomBy(1.5), smaller: () => zoomBy(1 / 1.5),
    good: () => mark("good"), bad: () => mark("bad"), wrong: () => mark("wrong class"), none: () => mark(""),
    copy: () => copyPath(),
  })) part(name).addEventListener("click", action);
  for (const side of ["first", "second"]) {
    part(side).addEventListener("change", () => {
      state[side] = part(side).value;
      drawViewer();
    });
  }
  addEventListener("resize", () => viewer.picture && place());
  dialog().addEventListener("close", viewerClosed);
  dialog().addEventListener("keydown", viewerKey);
}

async function copyPath() {
  const path = tagmask.rows[viewer.number].path;
  try {
    await navigator.clipboard.writeText(path);
    part("said").textContent = "the path is copied";
  } catch {
    getSelection().selectAllChildren(part("path"));
    part("said").textContent = "the path is selected; copy it with the keyboard";
  }
}

function viewerKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=range], input[type=number]")) return;
  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => chooseNext(-1), ArrowDown: () => chooseNext(1),
    "+": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomBy(1 / 99), u: () => mark(""),
    ...Object.fromEntries(Object.entries(MARKS).map(([key, text]) => [key, () => mark(text)])),
  };
  const action = keys[event.key] ?? (/^[1-9]$/.test(event.key) ? () => toggleLayer(Number(event.key) - 1) : null);
  if (!action) return;
  event.preventDefault();
  action();
}
