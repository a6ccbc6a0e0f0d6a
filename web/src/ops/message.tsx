import type { JSX } from 'preact';
import { segment, type TraceInfo } from './api.js';
import { Pill, Problem, Table } from './parts.js';
import { usePoll } from './poll.js';
import { EVERY_MS } from './samples.js';
import { bytes, number } from './words.js';

export interface Wanted {
  room: string;
  message: string;
  user: string;
}

/** Names shown of those who have a message. */
const SHOWN = 20;

const STATES = {
  written: ['good', 'written to the socket'],
  waiting: ['warn', 'waits in the queue'],
  catching_up: ['calm', 'still reads the history'],
  behind: ['bad', 'not queued yet'],
  came_later: ['calm', 'connected later: in the history'],
} as const;

interface Stored {
  type: string;
  username?: string;
  userId?: string;
  content?: string;
  name?: string;
}

/** Follow one message: why did somebody not get it? */
export function Message({ wanted, follow }: { wanted: Wanted; follow: (wanted: Wanted) => void }): JSX.Element {
  return (
    <section class="card-like">
      <h2>Follow a message</h2>
      <form
        class="row"
        autocomplete="off"
        onSubmit={(event) => {
          event.preventDefault();
          const field = (name: string): string => (event.currentTarget.elements.namedItem(name) as HTMLInputElement).value.trim();
          follow({ room: field('room'), message: field('message'), user: field('why') });
        }}
      >
        <label for="room-name">Room</label>
        <input key={`r ${wanted.room}`} id="room-name" name="room" required maxLength={128} spellcheck={false} defaultValue={wanted.room} />
        <label for="message">Id or offset</label>
        <input key={`m ${wanted.message}`} id="message" name="message" required maxLength={64} spellcheck={false} defaultValue={wanted.message} />
        <label for="why">Why did this user not get it</label>
        <input key={`u ${wanted.user}`} id="why" name="why" maxLength={128} spellcheck={false} placeholder="User id, or empty" defaultValue={wanted.user} />
        <button class="primary">Follow</button>
      </form>
      {wanted.room && wanted.message && <Followed wanted={wanted} />}
    </section>
  );
}

function Followed({ wanted: { room, message, user } }: { wanted: Wanted }): JSX.Element {
  const { value, error } = usePoll(
    `${room}\n${message}\n${user}`,
    async (api) => {
      const path = `/api/rooms/${segment(room)}/messages`;
      const trace = await api.get<TraceInfo>(`${path}/${segment(message)}/trace${user ? `?user=${segment(user)}` : ''}`);
      const page = await api.get<{ messages: Stored[] }>(`${path}?after=${trace.offset - 1}&limit=1`);
      return { trace, stored: page.messages[0] };
    },
    EVERY_MS,
  );
  if (!value) return error ? <Problem words={error} /> : <p>Looking…</p>;
  const { trace, stored } = value;
  const behind = trace.newestOffset - trace.offset;
  return (
    <>
      <Problem words={error} />
      {trace.answer && <p class="answer" role="status">{trace.answer}</p>}
      <dl class="facts">
        <dt>Stored</dt>
        <dd>
          <time dateTime={trace.takenAt}>{new Date(trace.takenAt).toLocaleString()}</time> at offset {number(trace.offset)}
          {behind ? `, ${number(behind)} before the newest` : ', the newest of the room'}
        </dd>
        <dt>From</dt>
        <dd>{stored?.username ?? trace.userId ?? 'a backend'}</dd>
        <dt>Says</dt>
        <dd class="says">{stored?.content ?? (stored?.name ? `event ${stored.name}` : '–')}</dd>
        <dt>Id</dt>
        <dd><code>{trace.id}</code></dd>
        <dt>Reached</dt>
        <dd>{trace.written} of {trace.sessions.length} sessions on {trace.nodeId} have it in their socket</dd>
        <dt>Acknowledged</dt>
        <dd class="says">{acknowledgedBy(trace.acknowledged)}</dd>
      </dl>
      <Table label="Sessions in the room" head={['User', 'Session', 'Where it is', { name: 'Waiting', right: true }, { name: 'Queued up to offset', right: true }]}>
        {trace.sessions.map((session) => {
          const [tone, words] = STATES[session.state];
          return (
            <tr key={session.sessionId}>
              <th scope="row">{session.username ?? session.userId}</th>
              <td><code title={session.sessionId}>…{session.sessionId.slice(-12)}</code></td>
              <td><Pill tone={tone}>{words}</Pill></td>
              <td class="right">{bytes(session.waitingBytes)}</td>
              <td class="right">{number(session.queuedOffset)}</td>
            </tr>
          );
        })}
        {!trace.sessions.length && <tr><td colSpan={5}>No session of this node is in the room{user ? ' for this user' : ''}.</td></tr>}
      </Table>
    </>
  );
}

/** Who has said that they have it, and who that they have read it. */
function acknowledgedBy(users: TraceInfo['acknowledged']): string {
  if (!users) return 'not asked for: receipts are off';
  const listed = (status: string): string[] => users.filter((user) => user.status === status).map(({ userId }) => userId);
  const part = (words: string, all: string[]): string[] => {
    if (!all.length) return [];
    const more = all.length > SHOWN ? ` and ${number(all.length - SHOWN)} more` : '';
    return [`${words} ${all.slice(0, SHOWN).join(', ')}${more}`];
  };
  return [...part('read by', listed('read')), ...part('delivered to', listed('delivered'))].join('; ') || 'by nobody yet';
}
