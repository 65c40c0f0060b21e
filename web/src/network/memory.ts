/** A WebAssembly module with an arena behind its own data. */

export type Exports = Record<string, (...values: number[]) => number>;

export class Module {
  readonly calls: Exports;
  private readonly memory: WebAssembly.Memory;
  private readonly start: number;
  private at: number;

  constructor(instance: WebAssembly.Instance) {
    this.calls = instance.exports as unknown as Exports;
    this.memory = instance.exports.memory as WebAssembly.Memory;
    this.start = ((instance.exports.__heap_base as WebAssembly.Global).value + 15) & ~15;
    this.at = this.start;
  }

  static async load(url: string): Promise<Module> {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url} is not there (${answer.status}). Reload the page.`);
    const { instance } = await WebAssembly.instantiate(await answer.arrayBuffer(), {});
    return new Module(instance);
  }

  /** Give back all that was taken since `mark`, or everything. */
  release(mark = this.start): void {
    this.at = mark;
  }

  get mark(): number {
    return this.at;
  }

  /** The address of so many bytes, zero or not. */
  take(bytes: number): number {
    const address = this.at;
    this.at += (bytes + 15) & ~15;
    const lacking = this.at - this.memory.buffer.byteLength;
    if (lacking > 0) this.memory.grow(Math.ceil(lacking / 65536));
    return address;
  }

  put(values: Float32Array | Int32Array): number {
    const address = this.take(values.byteLength);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    new Uint8Array(this.memory.buffer).set(bytes, address);
    return address;
  }

  floats(address: number, count: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, count);
  }

  bytes(address: number, count: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, count);
  }
}
