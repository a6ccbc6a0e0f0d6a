import { render, type JSX } from 'preact';
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/compat';
import { Mark } from '../chat/parts.js';
import { Api, ApiError, forgetKey, storedKey, storeKey } from './api.js';
import { Message, type Wanted } from './message.js';
import { Overview, TONES } from './overview.js';
import { Pill, Problem } from './parts.js';
import { DeskContext } from './poll.js';
import { Rooms } from './rooms.js';
import { useCluster } from './samples.js';
import { Sessions } from './sessions.js';
import { Users } from './users.js';
import { ago } from './words.js';

const TABS = { overview: 'Overview', rooms: 'Rooms', sessions: 'Sessions', users: 'Users', message: 'Follow a message' };
type Tab = keyof typeof TABS;

function Page(): JSX.Element {
  const [key, setKey] = useState(storedKey);
  const [why, setWhy] = useState('');
  const refused = useCallback((error: ApiError) => {
    forgetKey();
    setWhy(error.message);
    setKey('');
  }, []);
  const desk = useMemo(() => ({ api: new Api(key), refused }), [key, refused]);
  if (!key) return <Entrance why={why} enter={(given) => setKey(given)} />;
  return (
    <DeskContext.Provider value={desk}>
      <Inside
        leave={() => {
          forgetKey();
          setWhy('');
          setKey('');
        }}
      />
    </DeskContext.Provider>
  );
}

function Entrance({ why, enter }: { why: string; enter: (key: string) => void }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const [error, setError] = useState(why);
  const [busy, setBusy] = useState(false);
  useEffect(() => input.current?.focus(), []);
  const check = async (key: string): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      await new Api(key).get('/api/rooms?limit=1');
      storeKey(key);
      enter(key);
    } catch (problem) {
      setBusy(false);
      setError(problem instanceof Error ? problem.message : String(problem));
    }
  };
  return (
    <main class="signin">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          const key = input.current?.value.trim();
          if (key) void check(key);
        }}
      >
        <Mark />
        <h1>Operations</h1>
        <p>Look at this hub, and act on it.</p>
        <label for="key">API key</label>
        <input ref={input} id="key" type="password" required autocomplete="off" spellcheck={false} aria-describedby="key-error" />
        <p id="key-error" class="error" role="alert">{error}</p>
        <button class="primary" disabled={busy}>Enter</button>
        <p class="fine">The key is <code>auth.api_key</code> of the configuration. This window forgets it when it is closed.</p>
      </form>
    </main>
  );
}

function Inside({ leave }: { leave: () => void }): JSX.Element {
  const [tab, setTab] = useTab();
  const [user, setUser] = useState('');
  const [wanted, setWanted] = useState<Wanted>({ room: '', message: '', user: '' });
  const { value: cluster, error } = useCluster();
  const lookUp = (one: string): void => {
    setUser(one);
    setTab('users');
  };
  return (
    <div class="ops">
      <header class="bar">
        <Mark />
        <h1>Operations</h1>
        {cluster?.nodes.map(({ id, info }) => (
          <span key={id} class="node">
            <Pill tone={TONES[info.state]}>{info.state}</Pill> {id}, up for {ago(info.startedAt)}
          </span>
        ))}
        <button type="button" class="plainly small leave-page" onClick={leave}>Forget the key</button>
      </header>
      <nav class="tabs" aria-label="Parts of this page">
        {Object.entries(TABS).map(([one, words]) => (
          <a key={one} href={`#${one}`} aria-current={one === tab ? 'page' : undefined}>{words}</a>
        ))}
      </nav>
      <main>
        <Problem words={error} />
        {tab === 'overview' && (cluster ? <Overview cluster={cluster} /> : <p>Looking…</p>)}
        {tab === 'rooms' && (
          <Rooms
            follow={(room, message) => {
              setWanted({ room, message, user: '' });
              setTab('message');
            }}
          />
        )}
        {tab === 'sessions' && <Sessions lookUp={lookUp} />}
        {tab === 'users' && <Users user={user} lookUp={lookUp} />}
        {tab === 'message' && <Message wanted={wanted} follow={setWanted} />}
      </main>
    </div>
  );
}

/** The tab in the address. */
function useTab(): [Tab, (tab: Tab) => void] {
  const read = (): Tab => {
    const name = location.hash.slice(1);
    return name in TABS ? (name as Tab) : 'overview';
  };
  const [tab, setTab] = useState(read);
  useEffect(() => {
    const changed = (): void => setTab(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return [tab, (to) => (location.hash = to)];
}

const root = document.getElementById('root');
if (root) render(<Page />, root);
