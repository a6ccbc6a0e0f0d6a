const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A count or a rate. */
export function number(value: number): string {
  return Math.abs(value) >= 100 || Number.isInteger(value) ? whole.format(value) : fine.format(value);
}

export function bytes(value: number): string {
  let at = 0;
  while (value >= 1_024 && at < UNITS.length - 1) {
    value /= 1_024;
    at++;
  }
  return `${at ? fine.format(value) : whole.format(value)} ${UNITS[at]}`;
}

/** Seconds, in the unit that fits. */
export function seconds(value: number): string {
  if (value < 0.001) return `${fine.format(value * 1e6)} µs`;
  if (value < 1) return `${fine.format(value * 1e3)} ms`;
  return `${fine.format(value)} s`;
}

/** How long something lasts, in its two largest units. */
export function duration(secondsInAll: number): string {
  const s = Math.max(0, Math.floor(secondsInAll));
  const parts: [number, string][] = [[Math.floor(s / 86_400), 'd'], [Math.floor(s / 3_600) % 24, 'h'], [Math.floor(s / 60) % 60, 'min'], [s % 60, 's']];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).filter(([n], at) => n > 0 || at === 0).map(([n, unit]) => `${n} ${unit}`).join(' ');
}

/** How long ago a time was. */
export function ago(timestamp: string, now = Date.now()): string {
  return duration((now - Date.parse(timestamp)) / 1_000);
}

/** `too_slow` as words. */
export function plain(word: string): string {
  return word.replaceAll('_', ' ');
}
