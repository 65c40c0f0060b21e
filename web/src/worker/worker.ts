/** The worker: runs networks beside the page, one job at a time. */
import { oneSplit, splits, thinned } from "../analysis/splits";
import { rowLosses } from "../analysis/scores";
import { Exported, Fitted, Network, NetworkName, load } from "../network/networks";
import { Rows, takeRows } from "../network/standardise";
import { Random } from "../prior/random";
import type { Answers, HeldOut, Importance, JobName, Jobs, Reply, Request, Shown } from "./jobs";

class Replaced extends Error {}

const CHUNK_MS = 30;
const MOST_SHUFFLED = 200;
const N_SHUFFLES = 3;

const networks = new Map<NetworkName, Promise<Network>>();
const tables = new Map<number, Shown>();
/** What each network was last shown: its context is in the module's memory. */
const lastFits = new Map<NetworkName, { key: string; fitted: Fitted; nContext: number }>();
const queue: Request[] = [];
let running: Request | undefined;

self.onmessage = ({ data }: MessageEvent<Request>) => {
  for (let i = queue.length - 1; i >= 0; i--) {
    if (queue[i].lane === data.lane) reply({ key: queue.splice(i, 1)[0].key, replaced: true });
  }
  queue.push(data);
  if (!running) void work();
};

async function work(): Promise<void> {
  for (;;) {
    const at = queue.findIndex((request) => request.job !== "importance");
    running = queue.splice(Math.max(0, at), 1)[0];
    if (!running) return;
    const { key } = running;
    try {
      const run = RUN[running.job] as (request: Request) => Promise<unknown>;
      reply({ key, gives: await run(running) });
    } catch (error) {
      if (error instanceof Replaced) reply({ key, replaced: true });
      else reply({ key, error: error instanceof Error ? error.message : String(error) });
    }
  }
}

function reply(answer: Reply): void {
  self.postMessage(answer);
}

/** Let messages in; give up where a newer job of this lane waits. */
async function pause(request: Request, progress: number): Promise<void> {
  reply({ key: request.key, progress });
  await new Promise<void>((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => resolve();
    channel.port2.postMessage(null);
  });
  if (queue.some((waiting) => waiting.lane === request.lane)) throw new Replaced();
}

const RUN: { [K in JobName]: (request: Request<K>) => Promise<Jobs[K]["gives"]> } = {
  async show({ takes }) {
    tables.set(takes.shown.id, takes.shown);
    for (const id of [...tables.keys()].slice(0, -4)) tables.delete(id);
    return null;
  },

  async load({ takes, base }) {
    const started = performance.now();
    await network(takes.network, base);
    return { milliseconds: performance.now() - started };
  },

  async predict(request) {
    const { takes, base } = request;
    const shown = table(takes.id);
    const asks = await network(takes.network, base);
    const rows = rowsOf(shown, takes.x);
    const chosen = thinned(everyRow(shown), asks.mostRows);
    return answered(request, takes.network, asks, shown, chosen, rows, [0, 1]);
  },

  async heldOut(request): Promise<HeldOut> {
    const { takes, base } = request;
    const shown = table(takes.id);
    const asks = await network(takes.network, base);
    const parts = takes.most
      ? [oneSplit(shown.n, Math.min(takes.most[0], asks.mostRows), takes.most[1])]
      : splits(shown.n);
    const all: Answers[] = [];
    const rows: number[] = [];
    for (const [i, part] of parts.entries()) {
      const context = thinned(part.context, asks.mostRows);
      const within: [number, number] = [i / parts.length, (i + 1) / parts.length];
      const heldOut = takeRows(rowsOf(shown), part.heldOut);
      all.push(await answered(request, takes.network, asks, shown, context, heldOut, within));
      rows.push(...part.heldOut);
    }
    const sum = (of: (one: Answers) => number) => all.reduce((total, one) => total + of(one), 0);
    return {
      ...all[0],
      outputs: joined(all.map((one) => one.outputs)),
      milliseconds: {
        fit: sum((one) => one.milliseconds.fit),
        predict: sum((one) => one.milliseconds.predict),
      },
      rows: Int32Array.from(rows),
      nFits: parts.length,
    };
  },

  async importance(request): Promise<Importance> {
    const { takes, base } = request;
    const shown = table(takes.id);
    const asks = await network(takes.network, base);
    const part = oneSplit(shown.n, asks.mostRows, MOST_SHUFFLED);
    const heldOut = takeRows(rowsOf(shown), part.heldOut);
    const y = part.heldOut.map((i) => shown.y[i]);
    const random = new Random(1);
    const losses = async (rows: Rows, within: [number, number]) => {
      const found = await answered(request, takes.network, asks, shown, part.context, rows, within);
      return rowLosses(found.outputs, y, found.width, shown.nClasses > 0);
    };
    const usual = await losses(heldOut, [0, 0]);
    const [rise, error] = [new Float64Array(shown.d), new Float64Array(shown.d)];
    for (let j = 0; j < shown.d; j++) {
      const rises = new Float64Array(heldOut.n);
      for (let s = 0; s < N_SHUFFLES; s++) {
        const order = random.permutation(heldOut.n);
        const x = heldOut.x.slice();
        order.forEach((from, to) => (x[to * shown.d + j] = heldOut.x[from * shown.d + j]));
        const share = (j * N_SHUFFLES + s) / (shown.d * N_SHUFFLES);
        const found = await losses({ ...heldOut, x }, [share, share]);
        found.forEach((loss, i) => (rises[i] += (loss - usual[i]) / N_SHUFFLES));
      }
      const mean = average(rises);
      const variance = rises.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (heldOut.n - 1);
      rise[j] = mean;
      error[j] = Math.sqrt(variance / heldOut.n);
    }
    return { rise, error, loss: average(usual), nRows: heldOut.n };
  },

  async state(request) {
    const { takes, base } = request;
    const shown = table(takes.id);
    const asks = (await network(takes.network, base)) as Exported;
    const chosen = Array.from(takes.order.subarray(0, takes.nContext));
    const rows = rowsOf(shown, takes.x);
    const found = await answered(request, takes.network, asks, shown, chosen, rows, [0, 1]);
    return { ...asks.states(), answers: found };
  },
};

/** Fit `context`, unless it was the last one, and ask about `rows` chunk by chunk. */
async function answered(
  request: Request,
  name: NetworkName,
  asks: Network,
  shown: Shown,
  context: number[],
  rows: Rows,
  [from, to]: [number, number],
): Promise<Answers> {
  const key = `${shown.id}:${context.join()}`;
  const started = performance.now();
  let last = lastFits.get(name);
  if (last?.key !== key) {
    lastFits.delete(name);
    const y = context.map((i) => shown.y[i]);
    const fitted = asks.fit(takeRows(rowsOf(shown), context), y, shown.nClasses);
    last = { key, fitted, nContext: context.length };
    lastFits.set(name, last);
  }
  const { fitted } = last;
  const ready = performance.now();
  const outputs = new Float64Array(rows.n * fitted.width);
  let size = 16;
  let predict = 0;
  for (let done = 0; done < rows.n; ) {
    const n = Math.min(size, rows.n - done);
    const begun = performance.now();
    const x = rows.x.subarray(done * rows.d, (done + n) * rows.d);
    outputs.set(fitted.predict({ ...rows, x, n }), done * fitted.width);
    done += n;
    const took = Math.max(0.1, performance.now() - begun);
    predict += took;
    size = Math.max(1, Math.min(4096, Math.round((n * CHUNK_MS) / took)));
    await pause(request, from + ((to - from) * done) / rows.n);
  }
  const milliseconds = { fit: ready - started, predict };
  return { outputs, width: fitted.width, nContext: context.length, milliseconds };
}

function network(name: NetworkName, base: string): Promise<Network> {
  let found = networks.get(name);
  if (!found) {
    found = load(name, base);
    found.catch(() => networks.delete(name));
    networks.set(name, found);
  }
  return found;
}

function table(id: number): Shown {
  const found = tables.get(id);
  if (!found) throw new Replaced();
  return found;
}

function rowsOf(shown: Shown, x = shown.x): Rows {
  return { x, n: x.length / shown.d, d: shown.d, isCategory: shown.isCategory };
}

function everyRow(shown: Shown): number[] {
  return Array.from({ length: shown.n }, (_, i) => i);
}

function joined(parts: Float64Array[]): Float64Array {
  const out = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function average(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
