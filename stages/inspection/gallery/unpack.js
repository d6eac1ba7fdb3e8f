// Data of the page: rows to find images by, and what is drawn of an image, fetched when it is looked at.
"use strict";

const tagmask = {
  head: null, // what all rows share
  rows: [], // a row an image, in the order of the split
  inline: new Map(), // packed images of a page that holds everything itself
  waiting: new Map(), // image -> [resolve, reject]
  loaded: new Map(), // image -> promise, the latest last
};
const KEPT = 150; // images that stay unpacked

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// Called by the files of the images.
tagmask.put = (number, text) => {
  const waiting = tagmask.waiting.get(number);
  if (waiting) {
    tagmask.waiting.delete(number);
    unpack(text).then(...waiting);
  } else {
    tagmask.inline.set(number, text);
  }
};

function fileOf(number, ending) {
  return `data/${String(Math.floor(number / 1000)).padStart(3, "0")}/${String(number).padStart(6, "0")}.${ending}`;
}

function loadImage(number) {
  let promise = tagmask.loaded.get(number);
  if (promise) {
    tagmask.loaded.delete(number); // to the end: looked at last
  } else if (tagmask.inline.has(number)) {
    promise = unpack(tagmask.inline.get(number));
  } else {
    promise = new Promise((resolve, reject) => {
      tagmask.waiting.set(number, [resolve, reject]);
      const script = document.createElement("script");
      script.src = fileOf(number, "js");
      script.onload = () => script.remove();
      script.onerror = () => {
        script.remove();
        tagmask.waiting.delete(number);
        tagmask.loaded.delete(number);
        reject(new Error(`${script.src} cannot be read; the folder data must stand beside the page`));
      };
      document.head.append(script);
    });
  }
  tagmask.loaded.set(number, promise);
  for (const old of tagmask.loaded.keys()) {
    if (tagmask.loaded.size <= KEPT) break;
    tagmask.loaded.delete(old);
  }
  return promise;
}

function pictureOf(url) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error("a picture cannot be read; the folder data must stand beside the page"));
    picture.src = url;
  });
}

const thumbnailOf = (image) => pictureOf(`data:image/jpeg;base64,${image.thumbnail}`);
const fullPictureOf = (image, number) =>
  pictureOf(image.picture ? `data:image/jpeg;base64,${image.picture}` : fileOf(number, "jpg"));
