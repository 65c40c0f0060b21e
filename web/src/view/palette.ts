/** Colours that the colour-blind tell apart (Okabe & Ito 2008), and a shape for each class. */

type Rgb = [number, number, number];

const CLASSES: Rgb[] = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [213, 94, 0],
  [204, 121, 167],
  [86, 180, 233],
  [240, 228, 66],
  [127, 127, 127],
  [140, 81, 10],
  [94, 60, 153],
];

/** Stops of cividis (Nuñez, Anderton & Renslow 2018), for numbers from low to high. */
const NUMBERS: Rgb[] = [
  [0, 34, 78],
  [53, 69, 108],
  [102, 105, 112],
  [148, 142, 119],
  [200, 184, 102],
  [254, 232, 56],
];

export function classColour(place: number): string {
  return css(CLASSES[place % CLASSES.length]);
}

export function css([r, g, b]: Rgb): string {
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;
}

/** The colour of a number, as a share from the lowest to the highest. */
export function numberColour(share: number): Rgb {
  const place = Math.max(0, Math.min(1, Number.isNaN(share) ? 0 : share)) * (NUMBERS.length - 1);
  const k = Math.min(NUMBERS.length - 2, Math.floor(place));
  return NUMBERS[k].map((low, i) => low + (place - k) * (NUMBERS[k + 1][i] - low)) as Rgb;
}

/** The mixture of the classes' colours; what is uncertain fades into the background. */
export function mixedColour(proba: ArrayLike<number>, isDark: boolean): Rgb {
  const k = proba.length;
  const ground: Rgb = isDark ? [24, 29, 34] : [255, 255, 255];
  let most = 0;
  for (let c = 0; c < k; c++) most = Math.max(most, proba[c]);
  const strength = 0.12 + 0.5 * Math.max(0, (most - 1 / k) / (1 - 1 / k));
  return ground.map((base, i) => {
    let mixed = 0;
    for (let c = 0; c < k; c++) mixed += proba[c] * CLASSES[c % CLASSES.length][i];
    return base + strength * (mixed - base);
  }) as Rgb;
}

/** Draw the mark of a class around (x, y). */
export function mark(
  context: CanvasRenderingContext2D,
  place: number,
  x: number,
  y: number,
  r: number,
): void {
  const corners = [0, 4, 3, 4, 8, 5, 6, 3, 4, 5][place % 10];
  const turn = [0, 45, 0, 0, 22.5, 0, 0, 180, 22, 180][place % 10];
  context.beginPath();
  if (corners === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  for (let i = 0; i < corners; i++) {
    const angle = ((turn + (360 * i) / corners - 90) * Math.PI) / 180;
    context.lineTo(x + 1.2 * r * Math.cos(angle), y + 1.2 * r * Math.sin(angle));
  }
  context.closePath();
  context.fill();
  context.stroke();
}

export function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen === "dark";
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}
