// Painted pixels ↔ regions: rectangles, or polygons of the pixels around them, as labels hold them. Exact to the pixel.
//
// A mask is {x, y, width, height, data}: data holds 0 or 1 for every pixel of a part of the frame, row by row.

const AROUND = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];

export function emptyMask(x, y, width, height) {
  return { x, y, width, height, data: new Uint8Array(width * height) };
}

export function boxAround(polygon) {
  const across = polygon.map(([x]) => x);
  const down = polygon.map(([, y]) => y);
  const [left, top] = [Math.min(...across), Math.min(...down)];
  return { x: left, y: top, width: Math.max(...across) - left + 1, height: Math.max(...down) - top + 1, polygon };
}

// Sets the pixels whose middle lies within a radius of the way from one point to another (pixels with fractions).
export function stroke(mask, from, to, radius, value = 1) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length2 = dx * dx + dy * dy;
  const left = Math.max(Math.floor(Math.min(from.x, to.x) - radius), mask.x);
  const right = Math.min(Math.ceil(Math.max(from.x, to.x) + radius), mask.x + mask.width);
  const top = Math.max(Math.floor(Math.min(from.y, to.y) - radius), mask.y);
  const bottom = Math.min(Math.ceil(Math.max(from.y, to.y) + radius), mask.y + mask.height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = length2 ? Math.min(Math.max((px * dx + py * dy) / length2, 0), 1) : 0;
      const [ox, oy] = [px - along * dx, py - along * dy];
      if (ox * ox + oy * oy <= radius * radius) mask.data[(y - mask.y) * mask.width + x - mask.x] = value;
    }
  }
}

// The mask of one region: what its polygon encloses, outline included, or its whole rectangle.
export function fill({ x, y, width, height, polygon }) {
  const mask = emptyMask(x, y, width, height);
  if (!polygon) {
    mask.data.fill(1);
    return mask;
  }
  polygon.forEach((from, index) => outline(mask, from, polygon[(index + 1) % polygon.length]));
  for (let row = 0; row < height; row++) {
    const crossings = [];
    polygon.forEach(([x0, y0], index) => {
      const [x1, y1] = polygon[(index + 1) % polygon.length];
      if ((y0 <= y + row) !== (y1 <= y + row)) crossings.push(x0 + ((y + row - y0) * (x1 - x0)) / (y1 - y0));
    });
    crossings.sort((a, b) => a - b);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      const [first, last] = [Math.ceil(crossings[pair]) - x, Math.floor(crossings[pair + 1]) - x];
      if (first <= last) mask.data.fill(1, row * width + first, row * width + last + 1);
    }
  }
  return mask;
}

function outline(mask, [x0, y0], [x1, y1]) {
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1);
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(x0 + ((x1 - x0) * step) / steps) - mask.x;
    const y = Math.round(y0 + ((y1 - y0) * step) / steps) - mask.y;
    mask.data[y * mask.width + x] = 1;
  }
}

// The regions of a mask, one for each connected patch. A patch with a hole is cut there: a polygon has none.
export function trace(mask) {
  return patches(mask).flatMap((patch) => {
    const hole = holeIn(patch);
    if (hole === null) return [region(patch)];
    const [left, right] = [0, 1].map(() => ({ ...patch, data: patch.data.slice() }));
    for (let index = 0; index < patch.data.length; index++) {
      ((index % patch.width) > hole ? left : right).data[index] = 0;
    }
    return [...trace(left), ...trace(right)];
  });
}

function patches(mask) {
  const left = mask.data.slice();
  const found = [];
  for (let start = 0; start < left.length; start++) {
    if (!left[start]) continue;
    const pixels = [start];
    left[start] = 0;
    for (let at = 0; at < pixels.length; at++) {
      const [x, y] = [pixels[at] % mask.width, Math.floor(pixels[at] / mask.width)];
      for (const [dx, dy] of AROUND) {
        const [nx, ny] = [x + dx, y + dy];
        if (nx < 0 || ny < 0 || nx >= mask.width || ny >= mask.height) continue;
        const next = ny * mask.width + nx;
        if (left[next]) {
          left[next] = 0;
          pixels.push(next);
        }
      }
    }
    found.push(cropped(mask, pixels));
  }
  return found;
}

function cropped(mask, pixels) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (const pixel of pixels) {
    const [x, y] = [pixel % mask.width, Math.floor(pixel / mask.width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
  }
  const patch = emptyMask(mask.x + left, mask.y + top, right - left + 1, bottom - top + 1);
  for (const pixel of pixels) {
    patch.data[(Math.floor(pixel / mask.width) - top) * patch.width + (pixel % mask.width) - left] = 1;
  }
  return patch;
}

// The column of a pixel that the patch encloses; null if it encloses none.
function holeIn({ width, height, data }) {
  const outside = data.slice();
  const waiting = [];
  const reach = (x, y) => {
    if (x < 0 || y < 0 || x >= width || y >= height || outside[y * width + x]) return;
    outside[y * width + x] = 1;
    waiting.push([x, y]);
  };
  for (let x = 0; x < width; x++) [0, height - 1].forEach((y) => reach(x, y));
  for (let y = 0; y < height; y++) [0, width - 1].forEach((x) => reach(x, y));
  while (waiting.length) {
    const [x, y] = waiting.pop();
    [[1, 0], [-1, 0], [0, 1], [0, -1]].forEach(([dx, dy]) => reach(x + dx, y + dy));
  }
  const hole = outside.indexOf(0);
  return hole < 0 ? null : hole % width;
}

// Walks around a patch without holes, clockwise, from its first pixel back to it (Moore's neighbourhood, Jacob's criterion).
function region(patch) {
  const { x: left, y: top, width, height, data } = patch;
  if (data.every((set) => set)) return { x: left, y: top, width, height, polygon: null };
  const set = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x];
  const start = [data.indexOf(1), 0];
  const points = [];
  let [x, y] = start;
  let heading = 0;
  let first = null;
  for (;;) {
    let turn = 0;
    // From the pixel to the left of where it came from on.
    while (turn < 8 && !set(x + AROUND[(heading + 6 + turn) % 8][0], y + AROUND[(heading + 6 + turn) % 8][1])) turn++;
    const next = (heading + 6 + turn) % 8;
    if (first !== null && x === start[0] && y === start[1] && next === first) break;
    if (first === null || next !== heading) points.push([left + x, top + y]);
    first ??= next;
    heading = next;
    x += AROUND[next][0];
    y += AROUND[next][1];
  }
  while (points.length < 3) points.push(points.at(-1));
  return boxAround(points);
}
