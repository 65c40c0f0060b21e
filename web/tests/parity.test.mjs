/** The page answers as Python does: 20 tables, dropped as files, their predictions saved. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { give, launch, opened, serve } from "./browser.mjs";

const WITHIN = 1e-5;
const path = process.env.PLAYGROUND_PARITY;

test("probabilities are Python's", { skip: path ? false : "PLAYGROUND_PARITY names no file" }, async () => {
  const tables = Object.entries(JSON.parse(readFileSync(path, "utf8")));
  assert.equal(tables.length, 20);
  const server = await serve();
  const browser = await launch();
  try {
    const { page, troubles } = await opened(browser, server.url);
    await page.waitForSelector(".score:not(.stale) .figures strong");
    let worst = 0;
    for (const [name, { csv, classes, proba }] of tables) {
      await give(page, `${name}.csv`, csv);
      await page.waitForSelector(`text=${proba.length} rows of ${name}.csv, predicted by tiny`);
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.click("text=Save as CSV"),
      ]);
      const [header, ...lines] = readFileSync(await download.path(), "utf8").trim().split("\r\n");
      const heads = ["row", "target", ...classes.map((label) => `P(${label})`)];
      assert.equal(header, heads.join(","), name);
      assert.equal(lines.length, proba.length, name);
      lines.forEach((line, i) => {
        const found = line.split(",").slice(2).map(Number);
        found.forEach((value, c) => {
          const gap = Math.abs(value - proba[i][c]);
          worst = Math.max(worst, gap);
          assert.ok(gap <= WITHIN, `${name}, row ${i + 1}: ${value}, Python ${proba[i][c]}`);
        });
      });
    }
    console.log(`# largest difference ${worst.toExponential(1)}`);
    assert.deepEqual(troubles, []);
  } finally {
    await browser.close();
    server.close();
  }
});
