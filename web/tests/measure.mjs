/** Figures of the page on this machine: bytes, the first answer after opening, one prediction. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PAGE, launch, opened, serve } from "./browser.mjs";

const N_OPENINGS = 5;
const N_ROWS = 2000;

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}

const sizes = files(PAGE).map((path) => [path.slice(PAGE.length + 1), gzipSync(readFileSync(path), { level: 9 }).length]);
const total = (of) => of.reduce((sum, [, size]) => sum + size, 0);
for (const [name, size] of sizes) console.log(`${String(size).padStart(8)}  ${name}`);
console.log(`${total(sizes.filter(([name]) => !name.startsWith("nano")))} bytes compressed without nano`);

const server = await serve();
const browser = await launch();
const answers = [];
for (let i = 0; i < N_OPENINGS; i++) {
  const { page, context, requests } = await opened(browser, server.url);
  await page.waitForSelector(".answer tbody tr");
  answers.push(await page.evaluate(() => performance.now()));
  if (i === 0) console.log(`loaded at first sight: ${requests.map((url) => url.slice(server.url.length) || "index.html").join(", ")}`);
  await context.close();
}
console.log(`first answer after ${answers.map((ms) => Math.round(ms)).join(", ")} ms`);
await browser.close();
server.close();

const { instance } = await WebAssembly.instantiate(readFileSync(join(PAGE, "tiny.wasm")), {});
const e = instance.exports;
const [n, d, k] = [50, 5, 3];
let at = (e.__heap_base.value + 15) & ~15;
const take = (count) => (at += 4 * count) - 4 * count;
const [x, y, cache, rows, proba] = [take(n * d), take(n), take(e.cache_bytes(d) * n), take(N_ROWS * d), take(N_ROWS * k)];
e.memory.grow(Math.ceil(at / 65536));
const f = new Float32Array(e.memory.buffer);
for (let i = 0; i < N_ROWS * d; i++) f[rows / 4 + i] = Math.sin(i * 13.7);
for (let i = 0; i < n * d; i++) f[x / 4 + i] = Math.sin(i * 7.1);
for (let i = 0; i < n; i++) new Int32Array(e.memory.buffer)[y / 4 + i] = i % k;
const best = (run) => Math.min(...Array.from({ length: 15 }, () => {
  const started = performance.now();
  run();
  return performance.now() - started;
}));
const fit = best(() => e.fit(x, y, n, d, k, cache, e.cache_bytes(d) * n));
const predict = best(() => e.predict(rows, N_ROWS, proba)) / N_ROWS;
console.log(`50 context rows x 5, 3 classes: fit ${fit.toFixed(2)} ms, one prediction ${predict.toFixed(4)} ms`);
