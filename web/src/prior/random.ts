/** Random numbers that a seed decides. */

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (seed * 2654435761 + 1) >>> 0;
    for (let i = 0; i < 4; i++) this.uniform();
  }

  /** A number from 0 to 1 (mulberry32). */
  uniform(low = 0, high = 1): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return low + (((t ^ (t >>> 14)) >>> 0) / 4294967296) * (high - low);
  }

  logUniform(low: number, high: number): number {
    return Math.exp(this.uniform(Math.log(low), Math.log(high)));
  }

  /** A standard normal number (Box & Muller 1958). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  below(n: number): number {
    return Math.min(n - 1, Math.floor(this.uniform() * n));
  }

  flag(chance: number): boolean {
    return this.uniform() < chance;
  }

  /** A place by weights. */
  choice(weights: number[]): number {
    let left = this.uniform() * weights.reduce((a, b) => a + b, 0);
    for (let i = 0; i < weights.length; i++) {
      left -= weights[i];
      if (left < 0) return i;
    }
    return weights.length - 1;
  }

  permutation(n: number): number[] {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
