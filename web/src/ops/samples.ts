import { useRef } from 'preact/compat';
import type { Health } from './api.js';
import { parse, type Sample } from './metrics.js';
import { usePoll, type Polled } from './poll.js';

/** What is known of a node. */
export interface Node {
  readonly id: string;
  readonly health: Health;
  /** Oldest first, at most five minutes. */
  readonly samples: readonly Sample[];
}

export const EVERY_MS = 2_000;
const KEEP = 150;

/** The nodes, with their figures of the last minutes. */
export function useNodes(): Polled<readonly Node[]> {
  const samples = useRef<Sample[]>([]);
  return usePoll(
    'nodes',
    async (api) => {
      const [text, health] = await Promise.all([api.text('/metrics'), api.get<Health>('/api/ws/health')]);
      const sample: Sample = { at: Date.now(), figures: parse(text) };
      samples.current = [...samples.current, sample].slice(-KEEP);
      return [{ id: health.nodeId, health, samples: samples.current }];
    },
    EVERY_MS,
  );
}
