// Starts the page: fills the controls, listens to them, and opens what the address asks for.
"use strict";

const control = (name) => document.getElementById(`find-${name}`);

function fillControls() {
  const { classes, kinds, beside, measured_images: measured } = tagmask.head;
  const choices = (name, pairs) => control(name).append(...pairs.map(([value, text]) => element("option", { value }, text)));
  choices("class", classes.map((name) => [name, name]));
  choices("tag", [["none", "none of the classes"], ["unknown", "untagged"], ...classes.map((name) => [`is ${name}`, name])]);
  choices("sort", beside.map((name, i) => [`change ${i}`, `largest change to ${name}`]));
  if (measured) choices("kind", [["missed", "missed: an annotated instance that nothing finds"], ...kinds.map(({ name, meaning }) => [name, `${name}: ${meaning}`])]);
  for (const hidden of document.querySelectorAll("[data-measured]")) hidden.hidden = !measured;
}

function showControls() {
  for (const name of Object.keys(DEFAULTS)) if (control(name)) control(name).value = state[name];
  control("score").value = String(scoreShown());
  control("opacity").value = String(opacityShown());
  for (const range of document.querySelectorAll("[data-score]")) range.value = String(scoreShown());
  for (const range of document.querySelectorAll("[data-opacity]")) range.value = String(opacityShown());
  for (const text of document.querySelectorAll("[data-score-text]")) text.textContent = scoreShown().toFixed(2);
}

function listen() {
  let later = 0;
  for (const name of Object.keys(DEFAULTS)) {
    control(name)?.addEventListener("input", () => {
      state[name] = control(name).value;
      if (name !== "opacity" && name !== "by") state.page = "1";
      clearTimeout(later);
      later = setTimeout(() => {
        showControls();
        refresh();
      }, 150);
    });
  }
  for (const [data, name] of [["score", "score"], ["opacity", "opacity"]]) {
    for (const range of document.querySelectorAll(`dialog [data-${data}]`)) {
      range.addEventListener("input", () => {
        state[name] = range.value;
        showControls();
        drawViewer();
      });
    }
  }
  document.getElementById("find").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("find-all").addEventListener("click", () => {
    Object.assign(state, DEFAULTS);
    showControls();
    refresh();
  });
  for (const bar of document.querySelectorAll(".pages")) {
    bar.querySelector(".before").addEventListener("click", () => turnPage(-1));
    bar.querySelector(".after").addEventListener("click", () => turnPage(1));
  }
  document.getElementById("save-marks").addEventListener("click", saveMarks);
  document.getElementById("load-marks").addEventListener("change", loadMarks);
  addEventListener("hashchange", () => {
    readAddress();
    showControls();
    refresh();
    openAsked();
  });
}

async function loadMarks(event) {
  const said = document.getElementById("marks-said");
  try {
    const left = takeMarks(JSON.parse(await event.target.files[0].text()));
    said.textContent = left ? `marks are read; ${left} are of images that are not on this page` : "marks are read";
  } catch (error) {
    said.textContent = `not read: ${error.message}`;
  }
  event.target.value = "";
  refresh();
}

function openAsked() {
  const number = tagmask.rows.findIndex((row) => row.id === state.open);
  if (number < 0) return closeViewer();
  if (dialog().open && viewer.number === number) return undefined;
  viewer.on = new Set(state.layers === "" ? [] : state.layers.split(" ").map(Number));
  return openViewer(number);
}

async function start(head, rows) {
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("status").textContent = "This browser is too old for the page: it needs Chrome 80, Firefox 113 or Safari 16.4, or newer.";
    return;
  }
  tagmask.head = await unpack(head);
  tagmask.rows = await unpack(rows);
  readAddress();
  recallMarks();
  fillControls();
  setUpViewer();
  listen();
  showControls();
  const { open } = state;
  refresh();
  state.open = open;
  openAsked();
}
