/** A headless Chromium on the built page, served from a folder. */
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const PAGE = process.env.PLAYGROUND_PAGE
  ?? fileURLToPath(new URL("../../src/openpfn/playground/page", import.meta.url));
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
  ".json": "application/json",
  ".csv": "text/csv",
};
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Serve the page, below a path as a publisher might. */
export async function serve() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://page").pathname).replace(/^\/below/, "");
    const file = join(PAGE, path.endsWith("/") ? `${path}index.html` : path);
    if (!file.startsWith(PAGE) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/plain" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/below/`;
  return { url, close: () => server.close() };
}

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
  if (!executablePath) {
    throw new Error("Chromium is needed to test the page: apt-get install chromium, or set CHROMIUM.");
  }
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** The page opened anew, its first answers there. */
export async function opened(browser, url, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    acceptDownloads: true,
    ...options,
  });
  context.setDefaultTimeout(240_000); // a busy machine takes its time
  const page = await context.newPage();
  const troubles = [];
  const requests = [];
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
  context.on("request", (request) => requests.push(request.url()));
  await page.goto(url + (options.hash ?? ""));
  return { page, context, troubles, requests };
}

/** Give the page a table as if it had been dropped, and wait for nothing. */
export async function give(page, name, text) {
  await page.setInputFiles(".drop input[type=file]", {
    name,
    mimeType: "text/csv",
    buffer: Buffer.from(text),
  });
}

/** Wait until a function is true on the page, whose policy forbids to look for it there. */
export async function until(page, isTrue, argument, milliseconds = 240_000) {
  const end = Date.now() + milliseconds;
  while (!(await page.evaluate(isTrue, argument))) {
    if (Date.now() > end) throw new Error(`never true: ${isTrue}`);
    await page.waitForTimeout(50);
  }
}
