/** The page's end of its worker. */
import type { JobName, Jobs, Reply, Request, Shown } from "./jobs";
import type { Task } from "../table/task";

/** A newer request took the place of this one: nothing to tell anybody. */
export class Replaced extends Error {}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
  progress?(share: number): void;
}

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const waiting = new Map<number, Waiting>();
let nextKey = 1;
let nextTable = 1;

worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  const one = waiting.get(data.key);
  if (!one) return;
  if ("progress" in data) {
    one.progress?.(data.progress);
    return;
  }
  waiting.delete(data.key);
  if ("gives" in data) one.resolve(data.gives);
  else one.reject("error" in data ? new Error(data.error) : new Replaced());
};

worker.onerror = (event) => {
  const error = new Error(event.message || "The page's worker could not start. Reload the page.");
  for (const one of waiting.values()) one.reject(error);
  waiting.clear();
};

/** Have the worker do a job; of jobs in one lane, the newest alone is done. */
export function ask<K extends JobName>(
  job: K,
  takes: Jobs[K]["takes"],
  lane: string = job,
  progress?: (share: number) => void,
): Promise<Jobs[K]["gives"]> {
  const request: Request<K> = { key: nextKey++, job, lane, takes, base: document.baseURI };
  return new Promise((resolve, reject) => {
    waiting.set(request.key, { resolve: resolve as Waiting["resolve"], reject, progress });
    worker.postMessage(request);
  });
}

/** Hand the worker a task's labelled rows, and return the number by which jobs name them. */
export function show(task: Task): number {
  const id = nextTable++;
  const shown: Shown = {
    id,
    x: task.x,
    y: task.y,
    n: task.n,
    d: task.features.length,
    isCategory: task.features.map((feature) => feature.isCategory),
    nClasses: task.classes.length,
  };
  void ask("show", { shown }, `show ${id}`);
  return id;
}
