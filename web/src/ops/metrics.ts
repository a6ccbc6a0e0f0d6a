/** One moment of a node: every figure by its name and labels, as in `/metrics`. */
export type Figures = ReadonlyMap<string, number>;

/** Figures of a node at a time, epoch milliseconds. */
export interface Sample {
  readonly at: number;
  readonly figures: Figures;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;

/** Reads the Prometheus text format 0.0.4. The key is `name` or `name{label="value"}` as it stands there. */
export function parse(text: string): Figures {
  const figures = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (!line || line.startsWith('#')) continue;
    const [, name, labels, value] = LINE.exec(line) ?? [];
    if (name) figures.set(labels ? `${name}{${labels}}` : name, value === '+Inf' ? Infinity : Number(value));
  }
  return figures;
}

/** The name of the node that gave the figures. */
export function nodeOf(figures: Figures): string {
  for (const key of figures.keys()) {
    const name = key.startsWith('hubbub_build_info{') ? /[{,]node="([^"]*)"/.exec(key)?.[1] : undefined;
    if (name !== undefined) return name;
  }
  return 'unknown';
}

/** A figure that goes up and down. */
export function gauge({ figures }: Sample, name: string): number {
  return figures.get(name) ?? 0;
}

/** Increase of a counter in a second, summed over its labels. A counter that fell began anew. */
export function rate(before: Sample, now: Sample, name: string): number {
  const seconds = (now.at - before.at) / 1_000;
  if (seconds <= 0) return 0;
  let sum = 0;
  for (const [key, value] of now.figures) if (key === name || key.startsWith(`${name}{`)) sum += increase(before, key, value);
  return sum / seconds;
}

/** Increase in a second by the value of a label; only those that increased, most first. */
export function ratesBy(before: Sample, now: Sample, name: string, label: string): [string, number][] {
  const seconds = (now.at - before.at) / 1_000;
  if (seconds <= 0) return [];
  const found: [string, number][] = [];
  const pattern = new RegExp(`[{,]${label}="((?:[^"\\\\]|\\\\.)*)"`);
  for (const [key, value] of now.figures) {
    if (!key.startsWith(`${name}{`)) continue;
    const more = increase(before, key, value) / seconds;
    const word = pattern.exec(key)?.[1];
    if (more > 0 && word !== undefined) found.push([word, more]);
  }
  return found.sort((a, b) => b[1] - a[1]);
}

/**
 * A quantile, in seconds, of what a histogram counted between two samples; `null` if that is nothing.
 * Within a bucket the values are taken as spread evenly.
 */
export function quantile(before: Sample, now: Sample, name: string, q: number): number | null {
  const buckets: { le: number; count: number }[] = [];
  for (const [key, value] of now.figures) {
    if (!key.startsWith(`${name}_bucket{`)) continue;
    const le = /[{,]le="([^"]*)"/.exec(key)?.[1];
    if (le !== undefined) buckets.push({ le: le === '+Inf' ? Infinity : Number(le), count: increase(before, key, value) });
  }
  buckets.sort((a, b) => a.le - b.le);
  const total = buckets.at(-1)?.count ?? 0;
  if (total <= 0) return null;
  const rank = q * total;
  let [low, below] = [0, 0];
  for (const { le, count } of buckets) {
    if (count >= rank) {
      if (le === Infinity) return low;
      return count === below ? le : low + (le - low) * ((rank - below) / (count - below));
    }
    [low, below] = [le, count];
  }
  return low;
}

function increase(before: Sample, key: string, value: number): number {
  const old = before.figures.get(key) ?? 0;
  return value >= old ? value - old : value;
}
