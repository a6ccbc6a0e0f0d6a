import type { JSX } from 'preact';
import { useRef, useState } from 'preact/compat';
import type { SessionInfo, SessionList } from './api.js';
import { Confirm, Pill, Problem, statusTone, Table, Told } from './parts.js';
import { useAction, usePoll } from './poll.js';
import { EVERY_MS } from './samples.js';
import { ago, bytes, number, plain } from './words.js';

const ORDERS = { waiting: 'Most waiting bytes', frames: 'Most frames sent', newest: 'Newest', errors: 'Newest error' };

/** The sessions of the node that stand out. */
export function Sessions({ lookUp }: { lookUp: (user: string) => void }): JSX.Element {
  const [order, setOrder] = useState<keyof typeof ORDERS>('waiting');
  const { value, error, again } = usePoll(order, (api) => api.get<SessionList>(`/api/sessions?order=${order}&limit=50`), EVERY_MS);
  return (
    <section class="card-like">
      <div class="row">
        <h2>Sessions</h2>
        <label for="order">First</label>
        <select id="order" value={order} onChange={({ currentTarget }) => setOrder(currentTarget.value as keyof typeof ORDERS)}>
          {Object.entries(ORDERS).map(([key, words]) => <option key={key} value={key}>{words}</option>)}
        </select>
      </div>
      <p class="fine">{value ? `${number(value.sessionCount)} sessions on ${value.nodeId}; the first 50 are shown.` : ''}</p>
      <Problem words={error} />
      <SessionTable sessions={value?.sessions ?? []} lookUp={lookUp} changed={again} />
    </section>
  );
}

interface SessionTableProps {
  sessions: readonly SessionInfo[];
  lookUp?: (user: string) => void;
  changed: () => void;
}

export function SessionTable({ sessions, lookUp, changed }: SessionTableProps): JSX.Element {
  const [asking, setAsking] = useState<SessionInfo>();
  const { busy, told, failed, run } = useAction();
  const rates = useRates(sessions);
  return (
    <>
      <Table
        label="Sessions"
        head={[
          'User', 'Session', 'Wire', 'Address', 'Open for',
          { name: 'Rooms', right: true }, { name: 'Frames a second', right: true }, { name: 'Waiting', right: true }, { name: 'Unacknowledged', right: true },
          'Last error', 'Close',
        ]}
      >
        {sessions.map((session) => (
          <tr key={session.id}>
            <th scope="row">
              {lookUp ? <button type="button" class="link" onClick={() => lookUp(session.userId)}>{session.username ?? session.userId}</button> : (session.username ?? session.userId)}{' '}
              <Pill tone={statusTone(session.status)}>{session.status}</Pill>
            </th>
            <td><code title={session.id}>…{session.id.slice(-12)}</code></td>
            <td>{session.wire}</td>
            <td>{session.ip}</td>
            <td>{ago(session.openedAt)}</td>
            <td class="right">{number(session.roomCount)}</td>
            <td class="right">{rates.get(session.id) ?? '–'}</td>
            <td class="right">{bytes(session.waitingBytes)}</td>
            <td class="right">{number(session.unacknowledged)}</td>
            <td>{session.lastError ? `${plain(session.lastError.code)}, ${ago(session.lastError.at)} ago` : '–'}</td>
            <td>
              <button type="button" class="danger small" disabled={busy} onClick={() => setAsking(session)}>
                Close<span class="sr"> the session of {session.username ?? session.userId}</span>
              </button>
            </td>
          </tr>
        ))}
        {!sessions.length && <tr><td colSpan={11}>No session.</td></tr>}
      </Table>
      <Told told={told} failed={failed} />
      {asking && (
        <Confirm
          title={`Close this session of ${asking.username ?? asking.userId}?`}
          action="Close it"
          onClose={(confirmed) => {
            setAsking(undefined);
            if (!confirmed) return;
            run(async (api) => {
              await api.do('DELETE', `/api/sessions/${asking.id}`);
              changed();
              return `The session of ${asking.username ?? asking.userId} was closed.`;
            });
          }}
        >
          <p>Its client does not come back by itself. Other sessions of the user stay.</p>
        </Confirm>
      )}
    </>
  );
}

/** Frames a second of each session, from what two looks say. */
function useRates(sessions: readonly SessionInfo[]): ReadonlyMap<string, string> {
  const last = useRef<{ of: readonly SessionInfo[]; at: number; frames: Map<string, number>; rates: Map<string, string> }>({
    of: [],
    at: 0,
    frames: new Map(),
    rates: new Map(),
  });
  const before = last.current;
  if (before.of === sessions) return before.rates;
  const at = Date.now();
  const seconds = (at - before.at) / 1_000;
  const rates = new Map<string, string>();
  for (const { id, receivedFrames } of sessions) {
    const old = before.frames.get(id);
    if (old !== undefined && seconds > 0.5) rates.set(id, number((receivedFrames - old) / seconds));
  }
  last.current = { of: sessions, at, frames: new Map(sessions.map(({ id, receivedFrames }) => [id, receivedFrames])), rates };
  return rates;
}
