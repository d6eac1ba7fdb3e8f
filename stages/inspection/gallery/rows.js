// The list: a page of rows, a panel for each layer. Panels are drawn when their row comes into sight.
"use strict";

const PAGE = 20;
let listed = []; // numbers of the images that are found, in their order
let watcher = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const nameOf = (label) => tagmask.head.classes[label];
const kindText = (number) => (number < 0 ? "" : tagmask.head.kinds[number].name);

function describe(region) {
  const words = [];
  if (region.c >= 0) words.push(nameOf(region.c));
  if (region.s !== undefined) words.push(region.s.toFixed(2));
  if (region.kind) words.push(region.kind);
  if (region.iou !== undefined) words.push(`IoU ${region.iou.toFixed(2)}`);
  if (region.note) words.push(region.note);
  return words.join(" ");
}

function tagsOf(row) {
  if (row.t.length) return row.t.map(nameOf);
  return [row.state === "negative" ? "none of the classes" : "untagged"];
}

function numbersOf(row) {
  if (row.missed === null) return "";
  const words = [`${row.g.length} annotated`, `${row.missed} missed`, `${row.duplicates} duplicates`];
  if (row.ap !== null) words.unshift(`AP50 ${row.ap.toFixed(1)}`);
  return words.join(" · ");
}

function panelView(extra) {
  return { score: scoreShown(), opacity: opacityShown(), by: state.by, border: 2, ...extra };
}

// The size of a picture, times a whole number so that its longer side has about `wanted` pixels at least.
function enlarged({ width, height }, wanted) {
  const factor = Math.max(1, Math.round(wanted / Math.max(width, height)));
  return { width: width * factor, height: height * factor };
}

// A canvas with the thumbnail, and the layer over it.
function panelCanvas(thumbnail, layer) {
  const canvas = element("canvas", { ...enlarged(thumbnail, 224), "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.drawImage(thumbnail, 0, 0, canvas.width, canvas.height);
  if (layer) drawLayer(context, layer, panelView({ border: Math.max(1, Math.round(layer.w / canvas.width)) }));
  return canvas;
}

function captionLines(layer) {
  if (!layer) return [];
  const lines = (layer.notes || []).map((text) => element("span", { class: "quiet" }, text));
  if (layer.type !== "regions" || layer.ranked) return lines;
  const shown = shownRegions(layer, scoreShown());
  const painted = shown.slice(0, 6).map(({ region, index }) => element("span", {},
    element("i", { class: "swatch", style: `background:${css(regionColour(region, index, state.by))}` }),
    `${index + 1} ${describe(region)}`));
  if (shown.length > 6) painted.push(element("span", { class: "quiet" }, `and ${shown.length - 6} more`));
  if (!shown.length) painted.push(element("span", { class: "quiet" }, layer.regions.length ? "none is strong enough" : "none"));
  return [...painted, ...lines];
}

function panel(number, thumbnail, layer, at) {
  const title = layer ? layer.title : "image";
  const lines = captionLines(layer);
  const label = [`${title} of ${tagmask.rows[number].id}`, ...lines.map((line) => line.textContent)].join(", ");
  return element("figure", {},
    element("button", { type: "button", class: "panel", "aria-label": label, onclick: () => openViewer(number, at) },
      panelCanvas(thumbnail, layer)),
    element("figcaption", {}, element("b", {}, title), ...lines));
}

async function fillRow(holder, number) {
  try {
    const image = await loadImage(number);
    const thumbnail = await thumbnailOf(image);
    if (!holder.isConnected) return;
    holder.replaceChildren(panel(number, thumbnail, null, -1),
      ...image.layers.map((layer, at) => panel(number, thumbnail, layer, at)));
  } catch (error) {
    holder.replaceChildren(element("p", { class: "notice" }, error.message));
  }
}

function rowOf(number) {
  const row = tagmask.rows[number];
  const own = markOf(number);
  const marked = marks.get(number)?.instances.size ?? 0;
  const holder = element("div", { class: "panels" }, element("p", { class: "quiet" }, "…"));
  holder.fillRow = () => fillRow(holder, number);
  watcher.observe(holder);
  return element("section", { class: "row", id: `row-${number}`, "aria-label": row.id },
    element("h2", {}, row.id, ...tagsOf(row).map((tag) => element("span", { class: "tag" }, tag)),
      own ? element("span", { class: "tag mark" }, `marked ${own}`) : null,
      marked ? element("span", { class: "tag mark" }, `${marked} instances marked`) : null,
      element("span", { class: "quiet numbers" }, numbersOf(row))),
    holder);
}

function showRows() {
  const pages = Math.max(1, Math.ceil(listed.length / PAGE));
  const page = Math.min(Math.max(1, Math.round(least(state.page, 1))), pages);
  state.page = String(page);
  if (watcher) watcher.disconnect();
  watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      entry.target.fillRow();
    }
  }, { rootMargin: "600px" });
  const numbers = listed.slice((page - 1) * PAGE, page * PAGE);
  document.getElementById("rows").replaceChildren(...numbers.map(rowOf));
  const from = numbers.length ? (page - 1) * PAGE + 1 : 0;
  document.getElementById("status").textContent = listed.length
    ? `Images ${from} to ${from + numbers.length - 1} of ${listed.length} found, ${tagmask.rows.length} in all`
    : `No image of ${tagmask.rows.length} is as asked for; "Show all" takes the filters back`;
  for (const bar of document.querySelectorAll(".pages")) {
    bar.hidden = pages === 1;
    bar.querySelector(".which").textContent = `page ${page} of ${pages}`;
    bar.querySelector(".before").disabled = page === 1;
    bar.querySelector(".after").disabled = page === pages;
  }
}

function turnPage(by) {
  state.page = String(Number(state.page) + by);
  showRows();
  writeAddress();
  document.getElementById("status").scrollIntoView({ block: "start" });
}

function refresh() {
  listed = listedImages();
  showRows();
  writeAddress();
}
