/** The state of a fitted context as a picture: a block for each layer and column. */
import type { StateOf } from "../worker/jobs";
import { isDark } from "./palette";

const N_HEADS = 4;
const D_HEAD = 4;
const GAP = 8;
const SIDE = 2 * D_HEAD; // heads lie two by two

/** What each head reads: memory[h][i][j] / key_sum[h][i], floats or integers alike. */
function readings(state: StateOf, at: number, isInteger: boolean): number[] {
  const { buffer, byteOffset } = state.bytes;
  const count = N_HEADS * D_HEAD * (D_HEAD + 1);
  const from = byteOffset + at * state.stateBytes;
  const part = buffer.slice(from, from + 4 * count);
  const numbers = isInteger ? new Int32Array(part) : new Float32Array(part);
  const keys = N_HEADS * D_HEAD * D_HEAD;
  return Array.from({ length: keys }, (_, i) => {
    const mass = numbers[keys + Math.floor(i / D_HEAD)] * (isInteger ? 2 ** -10 : 1);
    return mass ? numbers[i] / mass : 0;
  });
}

/** Paint the states; each block's colours reach from its least to its greatest. */
export function paintStates(canvas: HTMLCanvasElement, state: StateOf, isInteger: boolean): void {
  const nColumns = state.nColumns + 1;
  const cell = nColumns > 8 ? 5 : 8;
  const block = SIDE * cell;
  canvas.width = nColumns * (block + GAP) - GAP;
  canvas.height = state.nLayers * (block + GAP) - GAP;
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const dark = isDark();
  for (let layer = 0; layer < state.nLayers; layer++) {
    const isLast = layer === state.nLayers - 1;
    for (let column = isLast ? nColumns - 1 : 0; column < nColumns; column++) {
      const place = layer * nColumns + (isLast ? 0 : column);
      const values = readings(state, place, isInteger);
      const most = Math.max(1e-9, ...values.map(Math.abs));
      values.forEach((value, i) => {
        const head = Math.floor(i / (D_HEAD * D_HEAD));
        const row = Math.floor(i / D_HEAD) % D_HEAD;
        const x = column * (block + GAP) + ((head % 2) * D_HEAD + (i % D_HEAD)) * cell;
        const y = layer * (block + GAP) + (Math.floor(head / 2) * D_HEAD + row) * cell;
        context.fillStyle = diverging(value / most, dark);
        context.fillRect(x, y, cell, cell);
      });
    }
  }
}

/** Blue below, orange above, the ground in the middle. */
function diverging(share: number, dark: boolean): string {
  const end = share < 0 ? [0, 114, 178] : [230, 140, 0];
  const ground = dark ? [38, 44, 50] : [244, 242, 236];
  const part = Math.sqrt(Math.min(1, Math.abs(share)));
  const [r, g, b] = ground.map((base, i) => Math.round(base + part * (end[i] - base)));
  return `rgb(${r} ${g} ${b})`;
}
