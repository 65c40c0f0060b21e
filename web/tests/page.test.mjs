/** The built page in headless Chromium: what it shows, keeps to itself, and says of bad tables. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { give, launch, opened, serve, until } from "./browser.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let browser;
let server;

before(async () => {
  server = await serve();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

const answered = (page) => page.waitForSelector(".score:not(.stale) .figures strong");
const seen = (page, selector) => page.locator(selector).first().innerText();

async function closed({ context, troubles, requests }) {
  const foreign = requests.filter((url) => !url.startsWith(server.url) && !/^(data|blob):/.test(url));
  assert.deepEqual(foreign, [], "a request left the page");
  assert.deepEqual(troubles, [], "the page complained");
  await context.close();
}

test("a sample table is answered at first sight, and no request leaves the page", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  assert.match(await seen(one.page, ".file"), /iris\.csv 150 rows, 5 columns/);
  const right = Number.parseFloat(await seen(one.page, ".figures strong"));
  assert.ok(right > 90, `${right}% of the flowers`);
  await one.page.waitForSelector(".answer tbody tr");
  assert.equal(await one.page.locator(".answer tbody tr").count(), 3);
  await one.page.waitForSelector("section:not(.stale) > .frames canvas");
  const others = one.requests.filter((url) => /nano/.test(url));
  assert.deepEqual(others, [], "a larger network was loaded unasked");
  await closed(one);
});

test("the policy of the page forbids requests elsewhere", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  const refused = await one.page.evaluate(() =>
    fetch("http://localhost:9/elsewhere").then(
      () => false,
      () => true,
    ),
  );
  assert.ok(refused);
  assert.match(one.troubles.splice(0).join(), /Content Security Policy/);
  one.requests.splice(0);
  await closed(one);
});

test("nano answers beside tiny, and numbers get intervals", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  await one.page.check(".switch input");
  await one.page.waitForSelector("text=One split:");
  const names = await one.page.locator("#card-side-by-side ~ div tbody th").allInnerTexts();
  assert.deepEqual(names, ["tiny", "nano"]);
  await one.page.click(".samples >> text=diabetes");
  await one.page.waitForSelector("text=80% intervals", { timeout: 240_000 });
  const inside = await one.page.locator(".figures strong").nth(2).innerText();
  const share = Number.parseFloat(inside);
  assert.ok(share > 60 && share < 95, `${inside} of 133 numbers in their 80% interval`);
  await closed(one);
});

test("ten thousand rows are predicted without freezing the page", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  const row = (i, y) => `${Math.sin(i)},${Math.cos(3 * i)},${i % 7},${Math.sin(i * i)},${y}`;
  const y = (i) => (Math.sin(i) + Math.cos(3 * i) > 0 ? "yes" : "no");
  const lines = Array.from({ length: 10_300 }, (_, i) => row(i, i < 300 ? y(i) : ""));
  await one.page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    const beat = () => {
      window.longest = Math.max(window.longest, performance.now() - last);
      last = performance.now();
      setTimeout(beat, 10);
    };
    beat();
  });
  const started = Date.now();
  await give(one.page, "many.csv", ["a,b,c,d,class", ...lines].join("\n"));
  await one.page.waitForSelector("text=10,000 rows of many.csv, predicted", { timeout: 240_000 });
  await one.page.waitForSelector("text=and 9,950 more");
  const took = Date.now() - started;
  const longest = await one.page.evaluate(() => window.longest);
  // reading the file is the page's, the network's work is not: on a busy machine both take longer
  const told = `the page stood still for ${Math.round(longest)} of ${took} ms`;
  assert.ok(longest < Math.max(500, took / 2), told);
  await closed(one);
});

const COLUMNS = "a,b,target";
const rows = (of, n = 20) => Array.from({ length: n }, (_, i) => of(i)).join("\n");
const wide = (j, i) => (i < 0 ? `c${j}` : Math.sin(i * j + i));
const SEVENTY = Array.from({ length: 21 }, (_, i) =>
  [...Array.from({ length: 70 }, (_, j) => wide(j, i - 1)), i ? i % 2 : "target"].join(),
).join("\n");
const TROUBLES = {
  "an empty file": ["", /is empty\. Choose a CSV file/],
  "a header alone": [COLUMNS, /has column names but no rows/],
  "one column": [`target\n${rows((i) => i % 2)}`, /one column alone/],
  "one class": [`${COLUMNS}\n${rows((i) => `${i},${i % 3},yes`)}`, /nothing to tell apart/],
  "too many classes": [
    `${COLUMNS}\n${rows((i) => `${i},${i % 3},name${i}`)}`,
    /20 different values; the networks tell at most 10/,
  ],
  "too few rows": [`${COLUMNS}\n1,2,yes\n2,1,no`, /2 rows with a value of "target"/],
  "a row that is too long": [`${COLUMNS}\n1,2,yes,4\n2,1,no`, /Row 1 .* has 4 fields/],
  "a repeated column": [`a,a,target\n${rows((i) => `${i},1,${i % 2}`)}`, /more than one column "a"/],
  "nothing that varies": [`${COLUMNS}\n${rows((i) => `1,1,${i % 2}`)}`, /values that vary/],
  "too many columns": [SEVENTY, /70 columns beside "target"; this page reads at most 64/],
  "no text at all": ["\u0000\u0001PNG,a\n1,2", /is not text/],
};

test("bad tables are told of in plain words, and a good one after them is answered", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  for (const [what, [text, message]] of Object.entries(TROUBLES)) {
    await give(one.page, `${what.replaceAll(" ", "-")}.csv`, text);
    const isTold = (source) => new RegExp(source).test(document.querySelector(".error").textContent);
    await until(one.page, isTold, message.source, 60_000).catch(async () =>
      assert.fail(`${what}: ${await one.page.locator(".error").innerText()}`),
    );
  }
  await one.page.click(".samples >> text=wine");
  await one.page.waitForSelector("text=wine.csv");
  await answered(one.page);
  assert.equal(await one.page.locator(".error").innerText(), "");
  await closed(one);
});

test("a file that lacks a column, and words where numbers are asked for, are told of", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  await one.page.setInputFiles("label.button input[type=file]", {
    name: "other.csv",
    mimeType: "text/csv",
    buffer: Buffer.from("sepal length,petal width\n1,2"),
  });
  await one.page.waitForSelector('text=other.csv has no column "sepal width"');
  const odd = `${COLUMNS}\n${rows((i) => `${i},${i % 5},${i === 7 ? "seven" : i * i}`, 40)}`;
  await give(one.page, "odd.csv", odd);
  await one.page.waitForSelector('text=holds "seven", which is no number');
  await closed(one);
});

test("rows stream into the state, whose size stays", async () => {
  const one = await opened(browser, server.url);
  await answered(one.page);
  await one.page.focus("#tab-table");
  await one.page.keyboard.press("End");
  const command = await one.page.locator(".about code", { hasText: "export budget" }).innerText();
  assert.equal(command, "openpfn export budget tiny --rows 50 --features 4 --classes 3");
  const bytes = one.page.locator("b", { hasText: "bytes of state" });
  await bytes.waitFor();
  const size = await bytes.innerText();
  await one.page.click("text=One row");
  await one.page.waitForSelector("text=9 of 105 rows");
  await one.page.click("text=Stream rows in");
  await until(
    one.page,
    () => Number.parseInt(document.querySelector(".count").textContent) > 15,
  );
  await one.page.click("text=Pause");
  assert.equal(await bytes.innerText(), size);
  await one.page.check("input[value=int]", { force: true });
  await until(one.page, (old) => !document.body.textContent.includes(old), size);
  await closed(one);
});

test("the prior draws other tasks for other sliders, and opens one as a table", async () => {
  const one = await opened(browser, server.url, { hash: "#prior" });
  await one.page.waitForSelector("text=it is right on");
  const before = await one.page.locator("#panel-prior .about").nth(1).innerText();
  await one.page.locator("#panel-prior input[type=range]").nth(2).fill("2");
  await until(
    one.page,
    (old) => document.querySelectorAll("#panel-prior .about")[1].textContent !== old,
    before,
  );
  await one.page.click("text=Open as a table");
  await one.page.waitForSelector("text=200 rows, 3 columns");
  await answered(one.page);
  await closed(one);
});

for (const colorScheme of ["light", "dark"]) {
  test(`nothing hinders people who read the page otherwise, ${colorScheme}`, async () => {
    const one = await opened(browser, server.url, { colorScheme, bypassCSP: true });
    await answered(one.page);
    await one.page.addScriptTag({ content: AXE });
    for (const tab of ["table", "prior", "chip"]) {
      await one.page.click(`#tab-${tab}`);
      const isReady = () => !document.querySelector("[role=tabpanel]:not([hidden]) .stale");
      await until(one.page, isReady);
      await one.page.waitForTimeout(600); // what had faded is back at full contrast
      const { violations } = await one.page.evaluate(() => window.axe.run());
      const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html).join(" | ")}`);
      assert.deepEqual(told, [], tab);
    }
    await closed(one);
  });
}

test("on a phone nothing is wider than the screen", async () => {
  const one = await opened(browser, server.url, { viewport: { width: 360, height: 740 } });
  await answered(one.page);
  for (const tab of ["table", "prior", "chip"]) {
    await one.page.click(`#tab-${tab}`);
    await one.page.waitForTimeout(300);
    const width = await one.page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${tab} is ${width} wide`);
  }
  await closed(one);
});
