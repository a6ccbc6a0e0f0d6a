import { useRef } from 'preact/compat';
import type { NodeInfo, NodeList } from './api.js';
import { nodeOf, parse, type Figures, type Sample } from './metrics.js';
import { usePoll, type Polled } from './poll.js';

/** What is known of a node. */
export interface Node {
  readonly id: string;
  readonly info: NodeInfo;
  /** Oldest first, at most five minutes. */
  readonly samples: readonly Sample[];
  /** The newest samples have every figure; other nodes tell a few. */
  readonly whole: boolean;
}

/** All nodes, and what only the cluster as a whole can say. */
export interface Cluster {
  readonly nodes: readonly Node[];
  readonly users: number;
  readonly roomCount: number;
}

export const EVERY_MS = 2_000;
const KEEP = 150;

/** The nodes of the cluster with their figures of the last minutes. */
export function useCluster(): Polled<Cluster> {
  const known = useRef<readonly Node[]>([]);
  return usePoll(
    'nodes',
    async (api) => {
      const [text, list] = await Promise.all([api.text('/metrics'), api.get<NodeList>('/api/nodes')]);
      known.current = withSamples(known.current, list.nodes, parse(text), Date.now());
      return { nodes: known.current, users: list.users, roomCount: list.roomCount };
    },
    EVERY_MS,
  );
}

/** The nodes of a list with one more sample each: `figures` of the node that gave them, a few of the others. */
export function withSamples(before: readonly Node[], list: readonly NodeInfo[], figures: Figures, at: number): readonly Node[] {
  const whole = nodeOf(figures);
  return list.map((info) => {
    const own = info.nodeId === whole;
    const sample: Sample = { at, figures: own ? figures : few(info) };
    const old = before.find(({ id }) => id === info.nodeId);
    // A balancer may hand the questions to another node now: what is compared must be of one kind.
    const samples = old?.whole === own ? old.samples : [];
    return { id: info.nodeId, info, samples: [...samples, sample].slice(-KEEP), whole: own };
  });
}

function few({ connections, sessions, rooms, publishes, volatile, deliveries }: NodeInfo): Figures {
  return new Map([
    ['hubbub_connections', connections],
    ['hubbub_sessions', sessions],
    ['hubbub_rooms', rooms],
    ['hubbub_publishes_total', publishes],
    ['hubbub_volatile_total', volatile],
    ['hubbub_deliveries_total', deliveries],
  ]);
}
