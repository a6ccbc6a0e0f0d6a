import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/compat';
import { segment } from './api.js';
import { Chart, type Series } from './chart.js';
import { gauge, quantile, rate, ratesBy, type Sample } from './metrics.js';
import { Confirm, Pill, Table, Told } from './parts.js';
import { useAction } from './poll.js';
import type { Cluster, Node } from './samples.js';
import { ago, bytes, number, plain, seconds } from './words.js';

/** Rates and quantiles are taken over so many samples, so that they do not jump. */
const WINDOW = 3;
/** Reasons with a line of their own. */
const MAX_REASONS = 6;

const perSecond = (value: number): string => `${number(value)}/s`;

/** How the hub is, now and in the last minutes. */
export function Overview({ cluster }: { cluster: Cluster }): JSX.Element {
  const { nodes } = cluster;
  return (
    <>
      <Tiles cluster={cluster} />
      {nodes.map((node) => (
        <section key={node.id} aria-label={`Charts of ${node.id}`}>
          <h2 class={nodes.length > 1 ? '' : 'sr'}>{nodes.length > 1 ? node.id : 'Charts'}</h2>
          <Charts samples={node.samples} whole={node.whole} />
        </section>
      ))}
      <NodesTable nodes={nodes} />
    </>
  );
}

/** The figures of all nodes, summed. */
function Tiles({ cluster: { nodes, users, roomCount } }: { cluster: Cluster }): JSX.Element {
  const sum = (one: (now: Sample, before: Sample) => number): number =>
    nodes.reduce((all, { samples }) => {
      const now = samples.at(-1);
      return now ? all + one(now, earlier(samples, samples.length - 1)) : all;
    }, 0);
  const tiles: [string, string][] = [
    ['Connections', number(sum((now) => gauge(now, 'hubbub_connections')))],
    ['Sessions', number(sum((now) => gauge(now, 'hubbub_sessions')))],
    ['Users', number(users)],
    ['Rooms', number(roomCount)],
    ['Publishes', perSecond(sum((now, before) => rate(before, now, 'hubbub_publishes_total')))],
    ['Deliveries', perSecond(sum((now, before) => rate(before, now, 'hubbub_deliveries_total')))],
    ['Waiting for slow clients', bytes(sum((now) => gauge(now, 'hubbub_outbound_queue_bytes')))],
  ];
  return (
    <dl class="tiles">
      {tiles.map(([name, value]) => (
        <div key={name} class="tile">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Charts({ samples, whole }: { samples: readonly Sample[]; whole: boolean }): JSX.Element {
  const times = useMemo(() => samples.map(({ at }) => at / 1_000), [samples]);
  const charts = useMemo(() => {
    const line = (name: string, value: (before: Sample, now: Sample) => number | null): Series => ({
      name,
      values: samples.map((now, at) => (at === 0 ? null : value(earlier(samples, at), now))),
    });
    const gauges = (...names: [string, string][]): Series[] =>
      names.map(([name, figure]) => ({ name, values: samples.map((now) => gauge(now, figure)) }));
    const latency = (figure: string): Series[] =>
      ([['p50', 0.5], ['p99', 0.99], ['p99.9', 0.999]] as const).map(([name, q]) => line(name, (before, now) => quantile(before, now, figure, q)));
    const reasons = (figure: string, label: string): Series[] => {
      const total = new Map<string, number>();
      const each = samples.map((now, at) => {
        const rates = at === 0 ? [] : ratesBy(earlier(samples, at), now, figure, label);
        for (const [reason, value] of rates) total.set(reason, (total.get(reason) ?? 0) + value);
        return new Map(rates);
      });
      const most = [...total].sort((a, b) => b[1] - a[1]).slice(0, MAX_REASONS);
      // In an order that stays, whatever is most now.
      return most.map(([reason]) => reason).sort().map((reason) => ({ name: plain(reason), values: each.map((one) => one.get(reason) ?? 0) }));
    };
    return {
      connections: gauges(['connections', 'hubbub_connections'], ['sessions', 'hubbub_sessions']),
      traffic: [
        line('publishes', (before, now) => rate(before, now, 'hubbub_publishes_total')),
        line('volatile', (before, now) => rate(before, now, 'hubbub_volatile_total')),
      ],
      deliveries: [line('deliveries', (before, now) => rate(before, now, 'hubbub_deliveries_total'))],
      ack: latency('hubbub_ack_seconds'),
      delivery: latency('hubbub_delivery_seconds'),
      store: latency('hubbub_store_seconds'),
      drops: reasons('hubbub_dropped_total', 'reason'),
      closed: reasons('hubbub_closed_total', 'reason'),
      refused: [...reasons('hubbub_refused_total', 'reason'), ...reasons('hubbub_errors_total', 'code')],
      sent: [
        line('to clients', (before, now) => rate(before, now, 'hubbub_outbound_bytes_total')),
        line('from clients', (before, now) => rate(before, now, 'hubbub_received_bytes_total')),
      ],
      memory: gauges(['resident', 'process_resident_memory_bytes']),
      cpu: [line('CPU', (before, now) => rate(before, now, 'process_cpu_seconds_total') * 100)],
    };
  }, [samples]);
  const chart = (title: string, series: readonly Series[], format: (value: number) => string, quiet?: string): JSX.Element => (
    <Chart title={title} times={times} series={series} format={format} {...(quiet ? { quiet } : {})} />
  );
  return (
    <div class="charts">
      {chart('Connections', charts.connections, number)}
      {chart('Published', charts.traffic, perSecond)}
      {chart('Delivered', charts.deliveries, perSecond)}
      {whole && (
        <>
          {chart('Time to acknowledge', charts.ack, seconds)}
          {chart('Time to deliver', charts.delivery, seconds)}
          {chart('Time to store', charts.store, seconds)}
          {chart('Dropped, by reason', charts.drops, perSecond, 'Nothing was dropped')}
          {chart('Closed, by reason', charts.closed, perSecond, 'Nothing was closed')}
          {chart('Refused, by reason', charts.refused, perSecond, 'Nothing was refused')}
          {chart('Bytes', charts.sent, (value) => `${bytes(value)}/s`)}
          {chart('Memory', charts.memory, bytes)}
          {chart('CPU', charts.cpu, (value) => `${number(value)} %`)}
        </>
      )}
    </div>
  );
}

export const TONES = { ready: 'good', draining: 'warn', gone: 'bad' } as const;

function earlier(samples: readonly Sample[], at: number): Sample {
  return samples[Math.max(0, at - WINDOW)] as Sample;
}

function NodesTable({ nodes }: { nodes: readonly Node[] }): JSX.Element {
  const [asking, setAsking] = useState<string>();
  const { busy, told, failed, run } = useAction();
  return (
    <section class="card-like">
      <h2>Nodes</h2>
      <Table
        label="Nodes"
        head={['Node', 'State', 'Up for', { name: 'Memory', right: true }, { name: 'Connections', right: true }, { name: 'Sessions', right: true }, 'Drain']}
      >
        {nodes.map(({ id, info, samples, whole }) => {
          const now = samples.at(-1);
          const memory = whole && now ? gauge(now, 'process_resident_memory_bytes') : undefined;
          return (
            <tr key={id}>
              <th scope="row">{id}</th>
              <td><Pill tone={TONES[info.state]}>{info.state}</Pill></td>
              <td>{ago(info.startedAt)}</td>
              <td class="right">{memory === undefined ? '–' : bytes(memory)}</td>
              <td class="right">{number(info.connections)}</td>
              <td class="right">{number(info.sessions)}</td>
              <td>
                <button type="button" class="danger small" disabled={busy || info.state !== 'ready'} onClick={() => setAsking(id)}>
                  Drain<span class="sr"> {id}</span>
                </button>
              </td>
            </tr>
          );
        })}
      </Table>
      <Told told={told} failed={failed} />
      {asking !== undefined && (
        <Confirm
          title={`Drain ${asking}?`}
          action="Drain"
          onClose={(confirmed) => {
            setAsking(undefined);
            if (!confirmed) return;
            run(async (api) => {
              await api.do('POST', `/api/nodes/${segment(asking)}/drain`);
              return `${asking} drains: its sessions are asked to come back elsewhere, then the process ends.`;
            });
          }}
        >
          <p>It takes no new connections, asks every session to come back elsewhere, and its process ends.</p>
        </Confirm>
      )}
    </section>
  );
}
