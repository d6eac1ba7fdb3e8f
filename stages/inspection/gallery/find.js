// Which images are listed, and in which order. The state lives in the address, so that a view can be sent.
"use strict";

const DEFAULTS = {
  q: "", class: "", tag: "", kind: "", mark: "", score: "", iou_from: "", iou_to: "", size_from: "", size_to: "",
  count_from: "", count_to: "", sort: "", by: "instance", opacity: "", page: "1", open: "", layers: "", first: "",
  second: "",
};
const state = { ...DEFAULTS };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(DEFAULTS)) state[key] = given.get(key) ?? DEFAULTS[key];
}

function writeAddress() {
  const kept = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== DEFAULTS[key]) kept.set(key, value);
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch {
    // Within a report the page has no address of its own.
  }
}

const least = (text, otherwise) => (text === "" || Number.isNaN(Number(text)) ? otherwise : Number(text));
const scoreShown = () => least(state.score, tagmask.head.score_threshold);
const opacityShown = () => least(state.opacity, tagmask.head.opacity);

// Predictions of a row that are shown: [class, score, kind, IoU, share of the image].
const shownOf = (row, score) => row.p.filter((one) => one[1] >= score);

function instanceTest() {
  const kind = tagmask.head.kinds.findIndex((one) => one.name === state.kind);
  const label = state.class === "" ? -1 : tagmask.head.classes.indexOf(state.class);
  const [iouFrom, iouTo] = [least(state.iou_from, -Infinity), least(state.iou_to, Infinity)];
  const [from, to] = [least(state.size_from, -Infinity) / 100, least(state.size_to, Infinity) / 100];
  const asked = state.class !== "" || state.kind !== "" || [state.iou_from, state.iou_to, state.size_from, state.size_to]
    .some((text) => text !== "");
  const fits = ([own, , found, iou, size]) => (label < 0 || own === label) && iou >= iouFrom && iou <= iouTo &&
    size >= from && size <= to && (kind < 0 || found === kind);
  return { asked, fits, missed: state.kind === "missed" };
}

function found(number, row, test, score) {
  if (state.q && !row.id.toLowerCase().includes(state.q.toLowerCase())) return false;
  if (state.tag === "none" && row.state !== "negative") return false;
  if (state.tag === "unknown" && row.state !== "unknown") return false;
  if (state.tag.startsWith("is ") && !row.t.includes(tagmask.head.classes.indexOf(state.tag.slice(3)))) return false;
  if (state.mark && !hasMark(number, state.mark)) return false;
  const shown = shownOf(row, score);
  if (shown.length < least(state.count_from, 0) || shown.length > least(state.count_to, Infinity)) return false;
  if (!test.asked) return true;
  if (test.missed) return (row.g || []).some(([c, iou, hit, size]) => !hit && test.fits([c, 0, -1, iou, size]));
  return shown.some(test.fits);
}

// Sorts by a number, images without one last; the order of the split decides among equals.
const ORDERS = {
  "": null,
  ap: (row) => row.ap,
  iou: (row) => (row.g && row.g.length ? row.g.reduce((sum, one) => sum + one[1], 0) / row.g.length : null),
  missed: (row) => (row.missed === null ? null : -row.missed),
  duplicates: (row) => (row.duplicates === null ? null : -row.duplicates),
  count: (row) => -shownOf(row, scoreShown()).length,
  score: (row) => (row.p.length ? row.p[0][1] : null),
};

function listedImages() {
  const test = instanceTest();
  const score = scoreShown();
  const numbers = tagmask.rows.map((_, number) => number)
    .filter((number) => found(number, tagmask.rows[number], test, score));
  const change = /^change (\d+)$/.exec(state.sort);
  const key = change ? (row) => -row.change[Number(change[1])] : ORDERS[state.sort];
  if (!key) return numbers;
  const keys = new Map(numbers.map((number) => [number, key(tagmask.rows[number])]));
  const value = (number) => keys.get(number) ?? Infinity;
  return numbers.sort((a, b) => (value(a) === value(b) ? a - b : value(a) - value(b)));
}
