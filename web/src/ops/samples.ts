import { useRef } from 'preact/compat';
import { nodeOf, parse, type Sample } from './metrics.js';
import { usePoll, type Polled } from './poll.js';

/** What is known of a node. */
export interface Node {
  readonly id: string;
  /** Oldest first, at most five minutes. */
  readonly samples: readonly Sample[];
}

export const EVERY_MS = 2_000;
const KEEP = 150;
/** A node that was not heard of for so long is forgotten. */
const FORGET_MS = 60_000;

/**
 * The nodes that have answered, with their figures of the last minutes: one, or those behind a
 * balancer, which hands each question to another one.
 */
export function useNodes(): Polled<readonly Node[]> {
  const known = useRef<readonly Node[]>([]);
  return usePoll(
    'nodes',
    async (api) => {
      const sample: Sample = { at: Date.now(), figures: parse(await api.text('/metrics')) };
      known.current = withSample(known.current, sample);
      return known.current;
    },
    EVERY_MS,
  );
}

/** The nodes with one more sample, sorted by name. */
export function withSample(nodes: readonly Node[], sample: Sample): readonly Node[] {
  const id = nodeOf(sample.figures);
  const before = nodes.find((node) => node.id === id);
  const heard = nodes.filter((node) => node !== before && sample.at - (node.samples.at(-1)?.at ?? 0) < FORGET_MS);
  const now: Node = { id, samples: [...(before?.samples ?? []), sample].slice(-KEEP) };
  return [...heard, now].sort((a, b) => a.id.localeCompare(b.id));
}
