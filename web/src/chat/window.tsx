import { createContext, type ComponentChildren, type JSX } from 'preact';
import { useCallback, useContext, useEffect, useMemo, useRef, useState } from 'preact/compat';
import type { HubbubError } from '@hubbub/client';
import { HubbubProvider, useConnection, useDirects, useHubbub, useHubbubEvent, useUnread } from '@hubbub/client/react';
import { errorWords, nameOf } from '../format.js';
import { fetchToken, type Identity } from '../identity.js';
import { Conversation } from './conversation.js';
import { useKeptDirects } from './kept.js';
import { IconButton } from './parts.js';
import { forgetRooms, usePlace, useRooms, type Place } from './place.js';
import { Room } from './room.js';
import { Sidebar } from './sidebar.js';

const AWAY_AFTER_MS = 5 * 60_000;
const TOAST_MS = 7_000;
const MAX_TOASTS = 3;

/** What every part of the window may use. */
interface Desk {
  readonly me: Identity;
  readonly place: Place;
  readonly rooms: readonly string[];
  readonly open: (place: Place) => void;
  /** Begins, or goes back to, the conversation with a user. */
  readonly talkTo: (userId: string, username: string) => void;
  readonly toast: (words: string) => void;
  /** The list that covers a narrow window now. */
  readonly drawer: Drawer | undefined;
  readonly setDrawer: (drawer: Drawer | undefined) => void;
  /** Somebody looks at this window. */
  readonly visible: boolean;
}

export type Drawer = 'rooms' | 'people';

const DeskContext = createContext<Desk | undefined>(undefined);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (!desk) throw new Error('not inside the window');
  return desk;
}

/** The page once somebody has signed in. */
export function Window({ me, onSignOut }: { me: Identity; onSignOut: () => void }): JSX.Element {
  const options = useMemo(() => ({ token: () => fetchToken(me), backoff: { capMs: 10_000 } }), [me]);
  return (
    <HubbubProvider options={options}>
      <Inside me={me} onSignOut={onSignOut} />
    </HubbubProvider>
  );
}

function Inside({ me, onSignOut }: { me: Identity; onSignOut: () => void }): JSX.Element {
  const [place, goTo] = usePlace();
  const { rooms, forget } = useRooms(place);
  const { directs, open: openDirect } = useDirects();
  const forgetDirects = useKeptDirects();
  const [toasts, toast, dropToast] = useToasts();
  const [drawer, setDrawer] = useDrawer();
  const visible = useVisible();
  const client = useHubbub();

  const open = useCallback((to: Place) => {
    setDrawer(undefined);
    goTo(to);
  }, [goTo, setDrawer]);
  const talkTo = useCallback((userId: string, username: string) => {
    if (userId === me.sub) return;
    openDirect(userId, { username });
    open({ user: userId });
  }, [me, openDirect, open]);
  const leave = useCallback((room: string) => {
    const next = rooms.find((one) => one !== room);
    if (next === undefined) return;
    forget(room);
    if (place.room === room) open({ room: next });
  }, [rooms, place, forget, open]);
  const refused = useCallback((room: string, error: HubbubError) => {
    toast(`You cannot enter “${room}”: ${errorWords(error)}.`);
    leave(room);
  }, [toast, leave]);

  useHubbubEvent('notification', ({ title, body }) => toast(`${title}: ${body}`));
  useHubbubEvent('error', (error) => toast(`The hub says: ${errorWords(error)}.`));
  useEffect(() => {
    const timer = setTimeout(() => client.setPresence(visible ? 'online' : 'away'), visible ? 0 : AWAY_AFTER_MS);
    return () => clearTimeout(timer);
  }, [client, visible]);
  useTitle(rooms, place);

  const desk = useMemo<Desk>(
    () => ({ me, place, rooms, open, talkTo, toast, drawer, setDrawer, visible }),
    [me, place, rooms, open, talkTo, toast, drawer, setDrawer, visible],
  );
  return (
    <DeskContext.Provider value={desk}>
      <div id="app" class="app">
        <Sidebar
          rooms={rooms}
          directs={directs}
          leave={leave}
          refused={refused}
          signOut={() => {
            forgetRooms();
            forgetDirects();
            onSignOut();
          }}
        />
        {place.user === undefined ? <Room key={`r ${place.room}`} roomId={place.room} /> : <Conversation key={`u ${place.user}`} userId={place.user} />}
        <div id="backdrop" class={drawer ? 'backdrop open' : 'backdrop'} onClick={() => setDrawer(undefined)} />
        <Toasts all={toasts} drop={dropToast} />
      </div>
    </DeskContext.Provider>
  );
}

/** Everything between the lists: heading, banner, log and composer. */
export function Main({ children }: { children: ComponentChildren }): JSX.Element {
  const { drawer } = useDesk();
  return <main class="room" id="room" inert={drawer !== undefined}>{children}</main>;
}

/** The panel at a side: always there in a wide window, a drawer in a narrow one. */
export function usePanel(which: Drawer): { ref: { current: HTMLElement | null }; open: boolean; close: () => void } {
  const { drawer, setDrawer } = useDesk();
  const ref = useRef<HTMLElement>(null);
  const open = drawer === which;
  useEffect(() => {
    if (!open) return;
    const opener = document.activeElement as HTMLElement | null;
    ref.current?.querySelector<HTMLElement>('.close')?.focus();
    return () => {
      // Unless what was chosen in it has taken the focus already.
      if (document.activeElement === document.body || ref.current?.contains(document.activeElement)) opener?.focus();
    };
  }, [open]);
  return { ref, open, close: () => setDrawer(undefined) };
}

function useDrawer(): [Drawer | undefined, (drawer: Drawer | undefined) => void] {
  const [drawer, setDrawer] = useState<Drawer | undefined>();
  useEffect(() => {
    const close = (): void => setDrawer(undefined);
    const key = ({ key: pressed }: KeyboardEvent): void => {
      if (pressed === 'Escape') close();
    };
    // A wide window shows the lists anyway.
    const widths = [matchMedia('(min-width: 1001px)'), matchMedia('(min-width: 721px)')];
    addEventListener('keydown', key);
    for (const width of widths) width.addEventListener('change', close);
    return () => {
      removeEventListener('keydown', key);
      for (const width of widths) width.removeEventListener('change', close);
    };
  }, []);
  return [drawer, setDrawer];
}

function useVisible(): boolean {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const changed = (): void => setVisible(!document.hidden);
    document.addEventListener('visibilitychange', changed);
    return () => document.removeEventListener('visibilitychange', changed);
  }, []);
  return visible;
}

function useTitle(rooms: readonly string[], place: Place): void {
  const { directs } = useDirects();
  const unread = useUnread(rooms) + directs.reduce((sum, direct) => sum + direct.unread, 0);
  const talk = directs.find(({ userId }) => userId === place.user);
  const name = place.user === undefined ? `#${place.room}` : nameOf(talk ?? { userId: place.user });
  useEffect(() => {
    document.title = `${unread ? `(${unread}) ` : ''}${name} · hubbub`;
  }, [unread, name]);
}

interface Toast {
  readonly id: number;
  readonly words: string;
}

let lastToast = 0;

function useToasts(): [readonly Toast[], (words: string) => void, (id: number) => void] {
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const drop = useCallback((id: number) => setToasts((now) => now.filter((one) => one.id !== id)), []);
  const toast = useCallback((words: string) => {
    const id = ++lastToast;
    setToasts((now) => [...now, { id, words }].slice(-MAX_TOASTS));
    setTimeout(() => drop(id), TOAST_MS);
  }, [drop]);
  return [toasts, toast, drop];
}

function Toasts({ all, drop }: { all: readonly Toast[]; drop: (id: number) => void }): JSX.Element {
  return (
    <div id="toasts" class="toasts" role="alert">
      {all.map(({ id, words }) => (
        <div key={id} class="toast">
          <span>{words}</span>
          <IconButton icon="close" label="Close this note" onClick={() => drop(id)} />
        </div>
      ))}
    </div>
  );
}

/** What the connection makes of a place, in words. */
export function useOutside(): string {
  const { status } = useConnection();
  return { connecting: 'Connecting…', connected: 'Entering…', reconnecting: 'Not connected', closed: 'Signed out' }[status];
}
