import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/compat';
import uPlot from 'uplot';

export interface Series {
  readonly name: string;
  /** One value for each time; `null` where there is none. */
  readonly values: readonly (number | null)[];
}

interface ChartProps {
  title: string;
  /** Epoch seconds. */
  times: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  /** What to say while there is no series. */
  quiet?: string;
}

const HEIGHT = 150;
const COLOURS = 7;

/** A line chart with a legend that tells the newest values, or those under the pointer. */
export function Chart({ title, times, series, format, quiet = 'Nothing yet' }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [hovered, setHovered] = useState<number | null>(null);
  const [scheme, setScheme] = useState(0);
  const names = series.map(({ name }) => name).join('\n');

  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const changed = (): void => setScheme((count) => count + 1);
    dark.addEventListener('change', changed);
    return () => dark.removeEventListener('change', changed);
  }, []);

  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const style = getComputedStyle(box);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const font = `11px ${style.fontFamily}`;
    const axis = { stroke: colour('--muted'), font, grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    const made = new uPlot(
      {
        width: Math.max(120, box.clientWidth),
        height: HEIGHT,
        padding: [8, 26, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { x: { time: true }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [
          { ...axis, grid: { show: false }, space: 70, size: 26, values: (_, splits) => splits.map(clock) },
          { ...axis, size: 62, space: 34, values: (_, splits) => splits.map((value) => (value === 0 ? '0' : format(value))) },
        ],
        series: [
          {},
          ...series.map(({ name }, at) => ({
            label: name,
            stroke: colour(`--series-${at % COLOURS}`),
            width: 2,
            points: { show: false },
            spanGaps: false,
            ...(series.length === 1 ? { fill: colour('--series-fill') } : {}),
          })),
        ],
        hooks: { setCursor: [({ cursor }) => setHovered(cursor.idx ?? null)] },
      },
      dataOf(times, series),
      box,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(120, box.clientWidth), height: HEIGHT }));
    observer.observe(box);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, scheme]);

  useEffect(() => {
    plot.current?.setData(dataOf(times, series));
  }, [times, series]);

  const value = ({ values }: Series): string => {
    const one = (hovered === null ? undefined : values[hovered]) ?? (hovered === null ? values.at(-1) : null);
    return one === null || one === undefined ? '–' : format(one);
  };
  return (
    <figure class="chart">
      <figcaption>
        <h3>{title}</h3>
        <ul>
          {series.map((one, at) => (
            <li key={one.name}>
              <i class={`swatch swatch-${at % COLOURS}`} aria-hidden="true" />
              {one.name} <b>{value(one)}</b>
            </li>
          ))}
          {!series.length && <li>{quiet}</li>}
        </ul>
      </figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
    </figure>
  );
}

function dataOf(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  return [[...times], ...series.map(({ values }) => [...values])];
}

function clock(at: number): string {
  const date = new Date(at * 1_000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}
