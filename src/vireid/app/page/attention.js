// PALM's attention over two images, from one selected position.

// Colours from dark to light, for weights from uniform to the largest.
const RAMP = [[40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164]];

function colour(heat) {
  const at = heat * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[low].map((value, i) => value + (at - low) * (RAMP[low + 1][i] - value));
}

/** The box of an image that is scaled to fit into a frame (object-fit: contain). */
function contained(image, width, height) {
  const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
  const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return { x: (width - w) / 2, y: (height - h) / 2, w, h };
}

function heatOf(map, weights) {
  const uniform = 1 / weights.length;
  const range = Math.max(Math.max(...weights) - uniform, uniform);
  const coarse = new OffscreenCanvas(map.width, map.height);
  const context = coarse.getContext("2d");
  const pixels = context.createImageData(map.width, map.height);
  weights.forEach((weight, i) => {
    const heat = Math.min(Math.max((weight - uniform) / range, 0), 1);
    pixels.data.set([...colour(heat), 255 * 0.85 * Math.sqrt(heat)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return coarse;
}

function draw(canvas, image, map, { row, column }) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const context = canvas.getContext("2d");
  const box = contained(image, canvas.width, canvas.height);
  context.filter = "grayscale(1) brightness(0.75)";
  context.drawImage(image, box.x, box.y, box.w, box.h);
  context.filter = "none";
  const weights = map.weights[row * map.width + column];
  context.imageSmoothingQuality = "high";
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.w, box.h);
  context.clip();
  context.drawImage(heatOf(map, weights), box.x, box.y, box.w, box.h);
  context.restore();
  const x = box.x + (column + 0.5) * box.w / map.width;
  const y = box.y + (row + 0.5) * box.h / map.height;
  for (const [width, style] of [[5, "#10222c"], [2.5, "#ffffff"]]) {
    context.beginPath();
    context.arc(x, y, 7 * ratio, 0, 2 * Math.PI);
    context.lineWidth = width * ratio;
    context.strokeStyle = style;
    context.stroke();
  }
  return Math.max(...weights) * weights.length;
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Two canvases over two images, with the same selected position. */
export class AttentionOverlay {
  /** `sides`: [{canvas, image, name}, ...] in the order of the maps; `report` shows the result. */
  constructor(sides, report) {
    this.sides = sides;
    this.report = report;
    this.maps = null;
    this.at = { row: 0, column: 0 };
    for (const { canvas, image, name } of sides) {
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "application");
      canvas.setAttribute("aria-label", `Attention over ${name}; arrow keys select a position`);
      canvas.addEventListener("click", (event) => this.#click(event, image));
      canvas.addEventListener("keydown", (event) => this.#key(event));
    }
    new ResizeObserver(() => this.#draw()).observe(sides[0].canvas);
  }

  show(maps) {
    this.maps = maps;
    const { height, width } = maps[0];
    this.at = { row: Math.floor(height * 0.28), column: Math.floor(width / 2) };
    for (const { canvas } of this.sides) {
      canvas.hidden = false;
      canvas.parentElement.classList.add("attended");
    }
    this.#draw();
  }

  hide() {
    this.maps = null;
    for (const { canvas } of this.sides) {
      canvas.hidden = true;
      canvas.parentElement.classList.remove("attended");
    }
  }

  #click(event, image) {
    const frame = event.currentTarget.getBoundingClientRect();
    const box = contained(image, frame.width, frame.height);
    const { height, width } = this.maps[0];
    this.#move(
      Math.floor((event.clientY - frame.top - box.y) / box.h * height),
      Math.floor((event.clientX - frame.left - box.x) / box.w * width),
    );
  }

  #key(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    this.#move(this.at.row + step[0], this.at.column + step[1]);
  }

  #move(row, column) {
    const { height, width } = this.maps[0];
    this.at = {
      row: Math.min(Math.max(row, 0), height - 1),
      column: Math.min(Math.max(column, 0), width - 1),
    };
    this.#draw();
  }

  #draw() {
    if (this.maps === null) return;
    const peaks = this.sides.map(
      ({ canvas, image }, i) => draw(canvas, image, this.maps[i], this.at),
    );
    this.report(this.at, this.maps[0], peaks);
  }
}
