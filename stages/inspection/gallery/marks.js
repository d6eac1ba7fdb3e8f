// What a person says of images and instances. Kept in the browser, saved as a file that `inspection.marks` reads.
"use strict";

const MARKS = { g: "good", b: "bad", w: "wrong class" };
const marks = new Map(); // image number -> {mark, instances: Map of "layer title\nnumber" -> {mark, class, score}}

const marksKey = () => `tagmask marks of ${tagmask.head.fingerprint}`;

function keepMarks() {
  try {
    localStorage.setItem(marksKey(), JSON.stringify(marksAsData()));
  } catch {
    // A browser that keeps nothing: the file that is saved is all there is.
  }
}

function recallMarks() {
  let kept = null;
  try {
    kept = localStorage.getItem(marksKey());
  } catch {
    return;
  }
  if (kept) takeMarks(JSON.parse(kept));
}

function marksOf(number) {
  if (!marks.has(number)) marks.set(number, { mark: "", instances: new Map() });
  return marks.get(number);
}

const instanceKey = (layer, region) => `${layer.title}\n${region.i}`;

function setMark(number, mark, layer, region) {
  const own = marksOf(number);
  if (!region) own.mark = mark;
  else if (mark) {
    const name = region.c >= 0 ? tagmask.head.classes[region.c] : "";
    own.instances.set(instanceKey(layer, region), { layer: layer.title, index: region.i, class: name, score: region.s ?? null, mark });
  } else own.instances.delete(instanceKey(layer, region));
  if (!own.mark && !own.instances.size) marks.delete(number);
  keepMarks();
}

function markOf(number, layer, region) {
  const own = marks.get(number);
  if (!own) return "";
  return region ? own.instances.get(instanceKey(layer, region))?.mark ?? "" : own.mark;
}

function hasMark(number, wanted) {
  const own = marks.get(number);
  const all = own ? [own.mark, ...Array.from(own.instances.values(), (one) => one.mark)].filter(Boolean) : [];
  if (wanted === "none") return !all.length;
  return wanted === "any" ? all.length > 0 : all.includes(wanted);
}

function marksAsData() {
  const { dataset, split, run, fingerprint } = tagmask.head;
  const images = Array.from(marks.entries()).sort((a, b) => a[0] - b[0]).map(([number, own]) => ({
    image: tagmask.rows[number].id, mark: own.mark || null, instances: Array.from(own.instances.values()),
  }));
  return { format: "tagmask marks", version: 1, dataset, split, run, fingerprint, images };
}

// Takes marks up; those of images that are not on the page are counted and left out.
function takeMarks(data) {
  if (data?.format !== "tagmask marks" || !Array.isArray(data.images)) throw new Error("this is no file of marks");
  const { dataset, split, run } = tagmask.head;
  if (data.dataset !== dataset || data.split !== split || data.run !== run) {
    throw new Error(`these are marks of ${data.dataset} ${data.split} ${data.run}, not of ${dataset} ${split} ${run}`);
  }
  const numbers = new Map(tagmask.rows.map((row, number) => [row.id, number]));
  let left = 0;
  for (const one of data.images) {
    const number = numbers.get(one.image);
    if (number === undefined) {
      left += 1;
      continue;
    }
    const own = marksOf(number);
    own.mark = one.mark ?? "";
    for (const it of one.instances ?? []) own.instances.set(`${it.layer}\n${it.index}`, it);
    if (!own.mark && !own.instances.size) marks.delete(number);
  }
  keepMarks();
  return left;
}

function saveMarks() {
  const text = `${JSON.stringify(marksAsData(), null, 1)}\n`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `marks_${tagmask.head.run}_${tagmask.head.split}.json`.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
