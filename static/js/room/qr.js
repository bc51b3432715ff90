// @ts-check
// QR codes (ISO/IEC 18004): byte mode, error correction level M, versions 1 to 20 (666 bytes).
// Loaded only when someone wants to see one.

const SVG = 'http://www.w3.org/2000/svg';
const QUIET = 4; // modules of white around the code, as the standard wants

/** Error correction bytes per block, and number of blocks, for versions 1 to 20 at level M. */
const EC_BYTES = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];
const LEVEL_M = 0; // its two bits in the format information

/** The eight masks: which data modules are inverted. @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** @typedef {(boolean | undefined)[][]} Grid rows of modules, true is dark, undefined not drawn yet */

/**
 * The code as one SVG path.
 * @param {string} text
 * @param {string} label
 */
export function qrElement(text, label) {
  const matrix = qrMatrix(text);
  const size = matrix.length + 2 * QUIET;
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('class', 'qr');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  svg.setAttribute('shape-rendering', 'crispEdges');
  svg.dataset.testid = 'qr';
  path.setAttribute('d', matrix.map((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : '')).join('')).join(''));
  svg.append(path);
  return svg;
}

/** @param {string} text @returns {boolean[][]} rows of modules, true is dark */
export function qrMatrix(text) {
  const bytes = new TextEncoder().encode(text);
  const version = BLOCKS.findIndex((_, i) => bytes.length <= dataBytes(i + 1) - headerBytes(i + 1)) + 1;
  if (version === 0) throw new RangeError('text is too long for a QR code');
  const codewords = interleave(encode(bytes, version), version);
  const frame = drawFunctionPatterns(version);
  const candidates = MASKS.map((_, mask) => drawAll(frame, codewords, version, mask));
  const penalties = candidates.map(penalty);
  return candidates[penalties.indexOf(Math.min(...penalties))];
}

// Capacity

/** @param {number} version */
const sizeOf = (version) => version * 4 + 17;

/** Bytes that fit in the data modules, error correction included. @param {number} version */
function totalBytes(version) {
  const alignments = version === 1 ? 0 : Math.floor(version / 7) + 2;
  let modules = (16 * version + 128) * version + 64;
  if (alignments > 0) modules -= (25 * alignments - 10) * alignments - 55;
  if (version >= 7) modules -= 36;
  return Math.floor(modules / 8);
}

/** @param {number} version */
const dataBytes = (version) => totalBytes(version) - EC_BYTES[version - 1] * BLOCKS[version - 1];

/** Mode (4 bits) and length (8 or 16 bits), rounded up. @param {number} version */
const headerBytes = (version) => (version < 10 ? 2 : 3);

// Data

/** @param {Uint8Array} bytes @param {number} version @returns {number[]} data codewords */
function encode(bytes, version) {
  /** @type {number[]} */
  const bits = [];
  const push = (/** @type {number} */ value, /** @type {number} */ length) => {
    for (let i = length - 1; i >= 0; i--) bits.push((value >> i) & 1);
  };
  const capacity = dataBytes(version);
  push(0b0100, 4); // byte mode
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, capacity * 8 - bits.length)); // terminator
  push(0, (8 - (bits.length % 8)) % 8);
  const codewords = Array.from({ length: bits.length / 8 }, (_, i) => parseInt(bits.slice(i * 8, i * 8 + 8).join(''), 2));
  for (let pad = 0xec; codewords.length < capacity; pad ^= 0xec ^ 0x11) codewords.push(pad);
  return codewords;
}

/**
 * Splits into blocks, adds error correction, and takes one byte of each block in turn.
 * @param {number[]} data
 * @param {number} version
 */
function interleave(data, version) {
  const count = BLOCKS[version - 1];
  const ecLength = EC_BYTES[version - 1];
  const shortLength = Math.floor(data.length / count);
  const shortCount = count - (data.length % count);
  const generator = generatorPolynomial(ecLength);
  const blocks = Array.from({ length: count }, (_, i) => {
    const start = i * shortLength + Math.max(0, i - shortCount);
    return data.slice(start, start + shortLength + (i < shortCount ? 0 : 1));
  });
  const corrections = blocks.map((block) => remainder(block, generator));
  return [...column(blocks, shortLength + 1), ...column(corrections, ecLength)];
}

/** @param {number[][]} rows @param {number} length */
function column(rows, length) {
  return Array.from({ length }, (_, i) => rows.flatMap((row) => (i < row.length ? [row[i]] : []))).flat();
}

// Reed-Solomon over GF(256), modulo x^8 + x^4 + x^3 + x^2 + 1

/** @param {number} a @param {number} b */
function multiply(a, b) {
  let product = 0;
  for (let i = 7; i >= 0; i--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> i) & 1) * a;
  }
  return product;
}

/** Coefficients below the leading one. @param {number} degree */
function generatorPolynomial(degree) {
  const result = [...Array(degree - 1).fill(0), 1];
  let root = 1;
  for (let i = 0; i < degree; i++) {
    for (let j = 0; j < degree; j++) result[j] = multiply(result[j], root) ^ (result[j + 1] ?? 0);
    root = multiply(root, 2);
  }
  return result;
}

/** @param {number[]} data @param {number[]} divisor */
function remainder(data, divisor) {
  const result = divisor.map(() => 0);
  for (const byte of data) {
    const factor = byte ^ /** @type {number} */ (result.shift());
    result.push(0);
    divisor.forEach((coefficient, i) => (result[i] ^= multiply(coefficient, factor)));
  }
  return result;
}

// Drawing

/** @param {number} version @returns {Grid} */
function drawFunctionPatterns(version) {
  const size = sizeOf(version);
  /** @type {Grid} */
  const grid = Array.from({ length: size }, () => Array(size).fill(undefined));
  for (let i = 0; i < size; i++) grid[6][i] = grid[i][6] = i % 2 === 0; // timing
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(grid, x, y, 4, [0, 1, 3]);
  const centres = alignmentCentres(version);
  const last = centres.length - 1;
  centres.forEach((x, i) => centres.forEach((y, j) => {
    const onFinder = (i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0);
    if (!onFinder) square(grid, x, y, 2, [0, 2]);
  }));
  drawFormat(grid, 0); // reserves the place
  drawVersion(grid, version);
  return grid;
}

/**
 * Concentric rings around a centre; `dark` are the distances that are dark.
 * @param {Grid} grid
 * @param {number} cx
 * @param {number} cy
 * @param {number} radius
 * @param {number[]} dark
 */
function square(grid, cx, cy, radius, dark) {
  for (let y = Math.max(0, cy - radius); y <= Math.min(grid.length - 1, cy + radius); y++) {
    for (let x = Math.max(0, cx - radius); x <= Math.min(grid.length - 1, cx + radius); x++) {
      grid[y][x] = dark.includes(Math.max(Math.abs(x - cx), Math.abs(y - cy)));
    }
  }
}

/** @param {number} version @returns {number[]} */
function alignmentCentres(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, i) => sizeOf(version) - 7 - (count - 2 - i) * step)];
}

/** Level and mask, twice, protected by a BCH code. @param {Grid} grid @param {number} mask */
function drawFormat(grid, mask) {
  const size = grid.length;
  const bits = (bch((LEVEL_M << 3) | mask, 10, 0x537)) ^ 0x5412;
  const bit = (/** @type {number} */ i) => ((bits >> i) & 1) === 1;
  const around = [0, 1, 2, 3, 4, 5, 7, 8]; // the timing line is left out
  around.forEach((y, i) => (grid[y][8] = bit(i)));
  [7, 5, 4, 3, 2, 1, 0].forEach((x, i) => (grid[8][x] = bit(8 + i)));
  for (let i = 0; i < 8; i++) grid[8][size - 1 - i] = bit(i);
  for (let i = 8; i < 15; i++) grid[size - 15 + i][8] = bit(i);
  grid[size - 8][8] = true; // always dark
}

/** @param {Grid} grid @param {number} version */
function drawVersion(grid, version) {
  if (version < 7) return;
  const bits = bch(version, 12, 0x1f25);
  for (let i = 0; i < 18; i++) {
    const [a, b] = [grid.length - 11 + (i % 3), Math.floor(i / 3)];
    grid[b][a] = grid[a][b] = ((bits >> i) & 1) === 1;
  }
}

/** @param {number} value @param {number} degree @param {number} polynomial */
function bch(value, degree, polynomial) {
  let rest = value;
  for (let i = 0; i < degree; i++) rest = (rest << 1) ^ ((rest >> (degree - 1)) * polynomial);
  return (value << degree) | rest;
}

/** @param {Grid} frame @param {number[]} codewords @param {number} version @param {number} mask @returns {boolean[][]} */
function drawAll(frame, codewords, version, mask) {
  const grid = frame.map((row) => [...row]);
  const isData = (/** @type {number} */ x, /** @type {number} */ y) => frame[y][x] === undefined;
  let next = 0;
  for (const [x, y] of zigzag(sizeOf(version))) {
    if (!isData(x, y)) continue;
    const bit = ((codewords[next >> 3] ?? 0) >> (7 - (next & 7))) & 1;
    grid[y][x] = (bit === 1) !== MASKS[mask](x, y);
    next++;
  }
  drawFormat(grid, mask);
  return /** @type {boolean[][]} */ (grid);
}

/** Pairs of columns from the right, upwards and downwards in turn. @param {number} size */
function* zigzag(size) {
  let upwards = true;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5; // the timing column
    for (let i = 0; i < size; i++) {
      const y = upwards ? size - 1 - i : i;
      yield [right, y];
      yield [right - 1, y];
    }
    upwards = !upwards;
  }
}

// Choosing the mask

/** @param {boolean[][]} grid */
function penalty(grid) {
  const columns = grid.map((_, x) => grid.map((row) => row[x]));
  const lines = [...grid, ...columns].map((line) => line.map(Number).join(''));
  return sum(lines.map(linePenalty)) + blockPenalty(grid) + balancePenalty(grid);
}

/** Penalty of long runs, and of patterns that look like a finder pattern. @param {string} line */
function linePenalty(line) {
  const runs = [...line.matchAll(/0{5,}|1{5,}/g)].map(([run]) => run.length - 2);
  const finders = [...line.matchAll(/(?=10111010000|00001011101)/g)].length;
  return sum(runs) + finders * 40;
}

/** @param {boolean[][]} grid */
function blockPenalty(grid) {
  let blocks = 0;
  for (let y = 1; y < grid.length; y++) {
    for (let x = 1; x < grid.length; x++) {
      const dark = grid[y][x];
      if (grid[y - 1][x] === dark && grid[y][x - 1] === dark && grid[y - 1][x - 1] === dark) blocks++;
    }
  }
  return blocks * 3;
}

/** @param {boolean[][]} grid */
function balancePenalty(grid) {
  const share = sum(grid.flat().map(Number)) / grid.length ** 2;
  return Math.floor(Math.abs(share - 0.5) * 20) * 10;
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}
