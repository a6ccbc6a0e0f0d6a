import type { JSX } from 'preact';
import { useState } from 'preact/compat';
import { ApiError, segment, type SessionList, type UserInfo } from './api.js';
import { Confirm, Pill, Problem, statusTone, Told } from './parts.js';
import { useAction, usePoll } from './poll.js';
import { SessionTable } from './sessions.js';
import { EVERY_MS } from './samples.js';
import { ago } from './words.js';

const BANS = { 0: 'No ban', 300000: '5 minutes', 3600000: '1 hour', 86400000: '1 day' };

/** Look a user up, and send the user away. */
export function Users({ user, lookUp }: { user: string; lookUp: (user: string) => void }): JSX.Element {
  return (
    <section class="card-like">
      <h2>Users</h2>
      <form
        class="row"
        autocomplete="off"
        onSubmit={(event) => {
          event.preventDefault();
          lookUp((event.currentTarget.elements.namedItem('user') as HTMLInputElement).value.trim());
        }}
      >
        <label for="user">User id</label>
        <input key={user} id="user" name="user" required maxLength={128} spellcheck={false} defaultValue={user} />
        <button class="primary">Look up</button>
      </form>
      {user && <Found key={user} user={user} />}
    </section>
  );
}

function Found({ user }: { user: string }): JSX.Element {
  const [asking, setAsking] = useState(false);
  const [ban, setBan] = useState('0');
  const { busy, told, failed, run } = useAction();
  const { value, error, again } = usePoll(
    user,
    async (api) => {
      try {
        const info = await api.get<UserInfo>(`/api/users/${segment(user)}`);
        const { sessions } = await api.get<SessionList>(`/api/sessions?user=${segment(user)}&limit=200`);
        return { info, sessions };
      } catch (problem) {
        if (problem instanceof ApiError && problem.status === 404) return { info: undefined, sessions: [] };
        throw problem;
      }
    },
    EVERY_MS,
  );
  if (!value) return error ? <Problem words={error} /> : <p>Looking…</p>;
  const { info, sessions } = value;
  return (
    <>
      <Problem words={error} />
      {info ? (
        <dl class="facts">
          <dt>Name</dt>
          <dd>{info.username ?? '–'}</dd>
          <dt>Presence</dt>
          <dd><Pill tone={statusTone(info.status)}>{info.status}</Pill> for {ago(info.since)}</dd>
          <dt>Rooms</dt>
          <dd>{info.rooms.length ? info.rooms.join(', ') : 'none'}</dd>
        </dl>
      ) : (
        <p>{user} has no session. The hub keeps no list of users, so this says nothing about whether the user exists.</p>
      )}
      <div class="row">
        <label for="ban">Keep away for</label>
        <select id="ban" value={ban} onChange={({ currentTarget }) => setBan(currentTarget.value)}>
          {Object.entries(BANS).map(([ms, words]) => <option key={ms} value={ms}>{words}</option>)}
        </select>
        <button type="button" class="danger" disabled={busy} onClick={() => setAsking(true)}>
          {ban === '0' ? 'Disconnect' : 'Disconnect and ban'}
        </button>
      </div>
      <Told told={told} failed={failed} />
      {sessions.length > 0 && <SessionTable sessions={sessions} changed={again} />}
      {asking && (
        <Confirm
          title={`Send ${user} away?`}
          action={ban === '0' ? 'Disconnect' : 'Disconnect and ban'}
          onClose={(confirmed) => {
            setAsking(false);
            if (!confirmed) return;
            run(async (api) => {
              const { closed } = await api.do<{ closed: number }>('DELETE', `/api/users/${segment(user)}/sessions?ban_ms=${ban}`);
              again();
              const banned = ban === '0' ? '' : ` ${user} cannot come back for ${BANS[ban as unknown as keyof typeof BANS]}.`;
              return `${closed} ${closed === 1 ? 'session was' : 'sessions were'} closed.${banned}`;
            });
          }}
        >
          <p>Every session is closed, and the clients do not come back by themselves.</p>
        </Confirm>
      )}
    </>
  );
}
