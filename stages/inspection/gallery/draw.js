// Draws layers. Masks are runs of atoms, and each region is a set of atoms: stages/inspection/scene.py says how.
"use strict";

const FIRST = [213, 94, 0]; // vermilion and blue (Okabe and Ito): the two sides of a comparison
const SECOND = [0, 114, 178];
const INFERNO = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50],
  [252, 255, 164],
];
const UNCERTAIN = 255;

function colourOf(number) {
  const hue = (0.58 + 0.618034 * number) % 1;
  return fromHue(hue, number % 2 ? 0.65 : 0.9, number % 3 === 2 ? 0.8 : 1);
}

function fromHue(hue, saturation, value) {
  const part = (n) => {
    const k = (n + hue * 6) % 6;
    return Math.round(255 * (value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [part(5), part(3), part(1)];
}

const fromHex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
const css = (colour) => `rgb(${colour.join(" ")})`;

function regionColour(region, index, by) {
  if (by === "kind" && region.kind) return fromHex(tagmask.head.kinds.find((one) => one.name === region.kind).colour);
  if (by === "class" && region.c >= 0) return colourOf(region.c);
  return colourOf(index);
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Numbers of a layer's pixels, row by row.
function pixelsOf(layer) {
  if (!layer.pixels) {
    layer.pixels = new Uint16Array(layer.w * layer.h);
    let at = 0;
    for (let i = 0; i < layer.runs.length; i += 2) {
      layer.pixels.fill(layer.runs[i + 1], at, at + layer.runs[i]);
      at += layer.runs[i];
    }
  }
  return layer.pixels;
}

// Regions that are strong enough, in their order.
function shownRegions(layer, score) {
  return layer.regions.map((region, index) => ({ region, index }))
    .filter(({ region }) => !layer.scored || region.s >= score);
}

// For each atom the place in `shown` of the region on top, or -1: the first on top, or the smallest of proposals.
function topOfAtoms(layer, shown) {
  const order = shown.map((_, i) => i);
  if (layer.ranked) order.sort((a, b) => shown[a].region.area - shown[b].region.area);
  let atoms = 0;
  for (const { region } of shown) for (const atom of region.atoms) atoms = Math.max(atoms, atom);
  const top = new Int16Array(Math.max(atoms, 65535) + 1).fill(-1);
  for (const i of order.reverse()) for (const atom of shown[i].region.atoms) top[atom] = i;
  return top;
}

function overlay(layer) {
  const canvas = document.createElement("canvas");
  canvas.width = layer.w;
  canvas.height = layer.h;
  const context = canvas.getContext("2d");
  return { canvas, context, data: context.createImageData(layer.w, layer.h) };
}

// Paints each pixel by `of(pixel)`, -1 for nothing; borders between different numbers are solid.
function fill(target, width, height, of, colours, opacity, border) {
  const out = target.data.data;
  const alpha = Math.round(255 * opacity);
  const differs = (x, y, own) => x >= 0 && y >= 0 && x < width && y < height && of(y * width + x) !== own;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const own = of(at);
      if (own < 0) continue;
      const edge = border && (differs(x - border, y, own) || differs(x + border, y, own) ||
        differs(x, y - border, own) || differs(x, y + border, own));
      const colour = colours[own];
      out[4 * at] = colour[0];
      out[4 * at + 1] = colour[1];
      out[4 * at + 2] = colour[2];
      out[4 * at + 3] = edge ? 255 : alpha;
    }
  }
}

function drawRegions(layer, view) {
  const target = overlay(layer);
  const shown = shownRegions(layer, view.score);
  const top = topOfAtoms(layer, shown);
  const pixels = pixelsOf(layer);
  const colours = shown.map(({ region, index }) => regionColour(region, index, view.by));
  fill(target, layer.w, layer.h, (at) => top[pixels[at]], colours, view.opacity, view.border);
  target.context.putImageData(target.data, 0, 0);
  return target.canvas;
}

// Writes its number into each region, at the own pixel that is nearest to the middle of what is seen of it.
function drawNumbers(context, layer, view) {
  const shown = shownRegions(layer, view.score);
  const top = topOfAtoms(layer, shown);
  const pixels = pixelsOf(layer);
  const sums = shown.map(() => [0, 0, 0]);
  for (let y = 0, at = 0; y < layer.h; y++) {
    for (let x = 0; x < layer.w; x++, at++) {
      const own = top[pixels[at]];
      if (own >= 0) {
        sums[own][0] += x;
        sums[own][1] += y;
        sums[own][2] += 1;
      }
    }
  }
  const nearest = sums.map(([x, y, n]) => ({ x: x / n, y: y / n, best: Infinity, at: null }));
  for (let y = 0, at = 0; y < layer.h; y++) {
    for (let x = 0; x < layer.w; x++, at++) {
      const own = top[pixels[at]];
      if (own < 0) continue;
      const one = nearest[own];
      const away = (x - one.x) ** 2 + (y - one.y) ** 2;
      if (away < one.best) {
        one.best = away;
        one.at = [x, y];
      }
    }
  }
  const { width, height } = context.canvas;
  const size = Math.max(11, Math.round(width / 45));
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  nearest.forEach((one, i) => {
    if (!one.at) return;
    const text = String(shown[i].index + 1);
    const half = context.measureText(text).width / 2 + 3;
    const x = Math.min(Math.max((one.at[0] + 0.5) / layer.w * width, half), width - half);
    const y = Math.min(Math.max((one.at[1] + 0.5) / layer.h * height, size * 0.7), height - size * 0.7);
    context.fillStyle = "rgb(0 0 0 / 75%)";
    context.fillRect(x - half, y - size * 0.62, 2 * half, size * 1.2);
    context.fillStyle = "#ffffff";
    context.fillText(text, x, y + 1);
  });
}

function drawLabels(layer, view) {
  const target = overlay(layer);
  const pixels = pixelsOf(layer);
  const colours = { [UNCERTAIN]: [150, 150, 150] };
  tagmask.head.classes.forEach((_, label) => { colours[label + 1] = colourOf(label); });
  const of = (at) => {
    const label = pixels[at];
    if (label === 0) return -1;
    const hatched = label === UNCERTAIN && ((at % layer.w) + Math.floor(at / layer.w)) % 9 > 2;
    return hatched ? -1 : label;
  };
  fill(target, layer.w, layer.h, of, colours, view.opacity, 0);
  target.context.putImageData(target.data, 0, 0);
  return target.canvas;
}

function drawMap(layer, view) {
  const target = overlay(layer);
  const values = bytesOf(layer.data);
  const out = target.data.data;
  for (let i = 0; i < values.length; i++) {
    const at = values[i] / 255 * (INFERNO.length - 1);
    const low = INFERNO[Math.floor(at)];
    const high = INFERNO[Math.ceil(at)];
    for (let c = 0; c < 3; c++) out[4 * i + c] = low[c] + (high[c] - low[c]) * (at % 1);
    out[4 * i + 3] = layer.empty ? 0 : 255 * Math.max(view.opacity, 0.55);
  }
  target.context.putImageData(target.data, 0, 0);
  return target.canvas;
}

function drawDirections(layer, view) {
  const target = overlay(layer);
  const [dy, dx] = [bytesOf(layer.dy), bytesOf(layer.dx)].map((one) => Array.from(one, (value) => (value - 128) / 127));
  const out = target.data.data;
  dy.forEach((down, i) => {
    const turn = (Math.atan2(down, dx[i]) / (2 * Math.PI) + 1) % 1;
    const colour = fromHue(turn, Math.min(1, Math.hypot(down, dx[i])), 1);
    for (let c = 0; c < 3; c++) out[4 * i + c] = colour[c];
    out[4 * i + 3] = 255 * Math.max(view.opacity, 0.55);
  });
  target.context.putImageData(target.data, 0, 0);
  return target.canvas;
}

const DRAWN = { regions: drawRegions, labels: drawLabels, map: drawMap, directions: drawDirections };

// Draws a layer over what the canvas holds already.
function drawLayer(context, layer, view) {
  context.imageSmoothingEnabled = layer.type === "map" || layer.type === "directions" || context.canvas.width < layer.w;
  context.drawImage(DRAWN[layer.type](layer, view), 0, 0, context.canvas.width, context.canvas.height);
  context.imageSmoothingEnabled = true;
  if (layer.type === "regions" && !layer.ranked) drawNumbers(context, layer, view);
  const radius = Math.max(3, context.canvas.width / 80);
  for (const [x, y, label] of layer.points || []) {
    for (const [grown, ink] of [[2, "#000000"], [1, "#ffffff"], [0, css(colourOf(Math.max(label, 0)))]]) {
      context.beginPath();
      context.arc(x * context.canvas.width, y * context.canvas.height, radius + grown, 0, 2 * Math.PI);
      context.fillStyle = ink;
      context.fill();
    }
  }
}

// The regions of a layer that hold a place (shares of the sides), best first.
function regionsAt(layer, x, y, score) {
  if (layer.type !== "regions" || x < 0 || y < 0 || x >= 1 || y >= 1) return [];
  const atom = pixelsOf(layer)[Math.floor(y * layer.h) * layer.w + Math.floor(x * layer.w)];
  const held = shownRegions(layer, score).filter(({ region }) => region.atoms.includes(atom));
  return layer.ranked ? held.sort((a, b) => a.region.area - b.region.area) : held;
}

// Draws one region alone: filled lightly, with a thick border.
function drawRegion(context, layer, region, colour) {
  const target = overlay(layer);
  const atoms = new Set(region.atoms);
  const pixels = pixelsOf(layer);
  fill(target, layer.w, layer.h, (at) => (atoms.has(pixels[at]) ? 0 : -1), [colour], 0.35, 2);
  target.context.putImageData(target.data, 0, 0);
  context.drawImage(target.canvas, 0, 0, context.canvas.width, context.canvas.height);
}

// Draws where two layers of masks differ: pixels of one alone are filled in its colour, what both hold is left free.
function drawDifference(context, first, second, view) {
  const target = overlay(first);
  const inside = [first, second].map((layer) => {
    const shown = shownRegions(layer, view.score);
    const top = topOfAtoms(layer, shown);
    const pixels = pixelsOf(layer);
    return (at) => top[pixels[at]] >= 0;
  });
  const of = (at) => {
    const [one, other] = [inside[0](at), inside[1](at)];
    return one === other ? -1 : one ? 0 : 1;
  };
  fill(target, first.w, first.h, of, [FIRST, SECOND], Math.max(view.opacity, 0.5), 1);
  const out = target.data.data;
  [[first, FIRST], [second, SECOND]].forEach(([layer, colour]) => {
    const shown = shownRegions(layer, view.score);
    const top = topOfAtoms(layer, shown);
    const pixels = pixelsOf(layer);
    for (let y = 0, at = 0; y < layer.h; y++) {
      for (let x = 0; x < layer.w; x++, at++) {
        const own = top[pixels[at]];
        const edge = (x + 1 < layer.w && top[pixels[at + 1]] !== own) ||
          (y + 1 < layer.h && top[pixels[at + layer.w]] !== own);
        if (edge) {
          for (let c = 0; c < 3; c++) out[4 * at + c] = colour[c];
          out[4 * at + 3] = 255;
        }
      }
    }
  });
  target.context.putImageData(target.data, 0, 0);
  context.drawImage(target.canvas, 0, 0, context.canvas.width, context.canvas.height);
}
