// @vitest-environment happy-dom
import { act, StrictMode, useEffect, type ReactElement, type ReactNode } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  HubbubProvider,
  useConnection,
  useDirect,
  useDirects,
  useHubbub,
  useHubbubEvent,
  usePresence,
  useReceipt,
  useRoom,
  useRoomState,
  useUnread,
} from '../src/react/index.js';
import { FakeSocket, message, socket, sockets } from './fake.js';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let root: Root | undefined;
let host: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
  host = document.createElement('div');
});
afterEach(async () => {
  await act(async () => root?.unmount());
  root = undefined;
  vi.useRealTimers();
});

const options = { url: 'http://hub.test', WebSocket: FakeSocket as never, random: () => 0.5 };

const App = ({ children }: { children: ReactNode }): ReactElement => <HubbubProvider options={options}>{children}</HubbubProvider>;

async function show(element: ReactElement): Promise<void> {
  await act(async () => {
    root ??= createRoot(host);
    root.render(element);
    await vi.advanceTimersByTimeAsync(0);
  });
}

/** Lets the hub do something and the page follow. */
async function then(does: () => unknown = () => {}, ms = 0): Promise<void> {
  await act(async () => {
    await does();
    await vi.advanceTimersByTimeAsync(ms);
  });
}

/** Opens the session and answers the join of `r` and the history that follows. */
async function enter(offset = 0, more: object = {}): Promise<void> {
  await then(() => socket().authenticate());
  await then(() => socket().joined('r', offset, more));
}

type Room = ReturnType<typeof useRoom>;

/** A component that shows its room to the test. */
function probe(): { room: () => Room; renders: () => number; Probe: (props: { id?: string }) => ReactElement } {
  let room: Room | undefined;
  let renders = 0;
  const Probe = ({ id = 'r' }: { id?: string }): ReactElement => {
    const now = useRoom(id);
    renders++;
    useEffect(() => {
      room = now;
    });
    return <p>{now.messages.map(({ content }) => content).join(' ')}</p>;
  };
  const get = (): Room => {
    if (!room) throw new Error('not rendered');
    return room;
  };
  return { room: get, renders: () => renders, Probe };
}

const member = (userId: string, more: object = {}): object => ({ userId, username: userId.toUpperCase(), status: 'online', socketCount: 1, ...more });

describe('the provider', () => {
  it('connects while it is mounted, once in StrictMode too', async () => {
    const Status = (): ReactElement => <p>{useConnection().status}</p>;
    await show(<StrictMode><App><Status /></App></StrictMode>);
    expect(sockets).toHaveLength(1);
    expect(host.textContent).toBe('connecting');
    await then(() => socket().authenticate());
    expect(host.textContent).toBe('connected');
    await then(() => root?.unmount());
    root = undefined;
    expect(socket().closedByClient).toBe(true);
    expect(sockets).toHaveLength(1);
  });

  it('is needed, and says so', () => {
    const Lost = (): ReactElement => <p>{useConnection().status}</p>;
    expect(() => renderToString(<Lost />)).toThrow('HubbubProvider');
  });

  it('renders on a server without a connection, and takes over there in the browser', async () => {
    const { Probe } = probe();
    const Page = (): ReactElement => (
      <App>
        <Probe />
        <Status />
      </App>
    );
    const Status = (): ReactElement => <i>{useConnection().status}</i>;
    host.innerHTML = renderToString(<Page />);
    expect(host.textContent).toBe('closed');
    expect(sockets).toHaveLength(0);
    const complaint = vi.fn();
    await act(async () => {
      root = hydrateRoot(host, <Page />, { onRecoverableError: complaint });
      await vi.advanceTimersByTimeAsync(0);
    });
    await enter(0);
    await then(() => socket().receive(message(1)));
    expect(host.textContent).toBe('c1connected');
    expect(complaint).not.toHaveBeenCalled();
  });
});

describe('useRoom', () => {
  it('joins once however many components use the room, and leaves after the last', async () => {
    const [one, two] = [probe(), probe()];
    const Two = ({ count }: { count: number }): ReactElement => <App>{count > 0 && <one.Probe />}{count > 1 && <two.Probe />}</App>;
    await show(<StrictMode><Two count={2} /></StrictMode>);
    await enter(3);
    expect(socket().of('join')).toHaveLength(1);
    expect(one.room().status).toBe('joined');
    expect(two.room().messages).toBe(one.room().messages);
    await show(<StrictMode><Two count={1} /></StrictMode>);
    await then(undefined, 2_000);
    expect(socket().of('leave')).toHaveLength(0);
    await show(<StrictMode><Two count={0} /></StrictMode>);
    await then(undefined, 2_000);
    expect(socket().of('leave')).toHaveLength(1);
  });

  it('shows the newest history, then what comes, and pages back', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(70);
    expect(socket().last('history')).toMatchObject({ roomId: 'r', limit: 50 });
    expect(room().history.loading).toBe(true);
    await then(() => socket().receive(message(71)));
    const page = (from: number, to: number): object[] => Array.from({ length: to - from + 1 }, (_, i) => message(from + i));
    await then(() => socket().ack('history', { roomId: 'r', epoch: 'e1', messages: page(22, 71), hasMore: true }));
    expect(room().messages.map(({ offset }) => offset)).toEqual(page(22, 71).map((_, i) => 22 + i));
    expect(room().history).toEqual({ hasOlder: true, loading: false, error: undefined });
    await then(() => void room().loadOlder());
    expect(socket().last('history')).toMatchObject({ before: 22 });
    await then(() => socket().ack('history', { roomId: 'r', epoch: 'e1', messages: page(1, 21), hasMore: false }));
    expect(room().messages).toHaveLength(71);
    expect(room().history.hasOlder).toBe(false);
    await then(() => void room().loadOlder());
    expect(socket().of('history')).toHaveLength(2);
  });

  it('tells when history cannot be read, and tries again when asked', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(9);
    await then(() => socket().refuse('history', 'unavailable'));
    expect(room().history).toMatchObject({ hasOlder: true, loading: false, error: { code: 'unavailable' } });
    await then(() => void room().loadOlder());
    await then(() => socket().ack('history', { roomId: 'r', epoch: 'e1', messages: [message(9)], hasMore: false }));
    expect(room().messages).toHaveLength(1);
    expect(room().history.error).toBeUndefined();
  });

  it('shows an own message at once and once: answer first or copy first', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter();
    const shown = (): string[] => [...room().messages, ...room().outgoing].map(({ content }) => content);
    await then(() => void room().send('one'));
    expect(room().outgoing).toMatchObject([{ content: 'one', status: 'sending' }]);
    await then(() => socket().ack('message', { messageId: 'm1', epoch: 'e1', offset: 1 }));
    expect(room().outgoing).toMatchObject([{ content: 'one', status: 'sent' }]);
    await then(() => socket().receive(message(1, { userId: 'me', content: 'one' })));
    expect(shown()).toEqual(['one']);
    await then(() => void room().send('two'));
    await then(() => socket().receive(message(2, { userId: 'me', content: 'two' })));
    expect(shown()).toEqual(['one', 'two']);
    await then(() => socket().ack('message', { messageId: 'm2', epoch: 'e1', offset: 2 }));
    expect(room().outgoing).toEqual([]);
    expect(room().unread).toBe(0);
  });

  it('keeps a failed message, to be sent again with its key or thrown away', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter();
    await then(() => void room().send('x'));
    const { key } = socket().last('message');
    await then(() => socket().refuse('message', 'forbidden'));
    expect(room().outgoing).toMatchObject([{ content: 'x', status: 'failed', error: { code: 'forbidden' } }]);
    await then(() => room().retry(String(key)));
    expect(socket().last('message').key).toBe(key);
    expect(room().outgoing).toMatchObject([{ status: 'sending' }]);
    await then(() => socket().refuse('message', 'forbidden'));
    await then(() => room().discard(String(key)));
    expect(room().outgoing).toEqual([]);
  });

  it('counts what is unread, and tells the hub when it was read', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter();
    await then(() => [1, 2].forEach((offset) => socket().receive(message(offset))));
    expect([room().unread, room().firstUnread]).toEqual([2, 1]);
    await then(() => room().markRead());
    expect([room().unread, room().firstUnread]).toEqual([0, 1]);
    expect(socket().last('read')).toMatchObject({ roomId: 'r', offset: 2 });
    await then(() => socket().receive(message(3)));
    await then(() => socket().receive({ type: 'receipt', roomId: 'r', userId: 'me', offset: 3, status: 'read' }));
    expect(room().unread).toBe(0);
    await then(() => socket().receive({ type: 'receipt', roomId: 'r', userId: 'bo', offset: 2, status: 'read' }));
    await then(() => socket().receive({ type: 'receipt', roomId: 'r', userId: 'bo', offset: 3, status: 'delivered' }));
    expect([...room().readBy]).toEqual([['bo', 2]]);
    expect([...room().deliveredTo]).toEqual([['bo', 3]]);
  });

  it('counts nothing while somebody looks, and tells now and then how far they read', async () => {
    let room: Room | undefined;
    const Probe = ({ watching }: { watching: boolean }): null => {
      room = useRoom('r', { watching });
      return null;
    };
    const page = (watching: boolean): ReactElement => <App><Probe watching={watching} /></App>;
    await show(page(false));
    await enter();
    await then(() => socket().receive(message(1)));
    await show(page(true));
    expect([room?.unread, room?.firstUnread]).toEqual([0, 1]);
    expect(socket().of('read').map(({ offset }) => offset)).toEqual([1]);
    for (let offset = 2; offset <= 5; offset++) await then(() => socket().receive(message(offset)), 300);
    expect(room?.unread).toBe(0);
    await then(undefined, 2_000);
    expect(socket().of('read').map(({ offset }) => offset)).toEqual([1, 5]);
    await show(page(false));
    expect(room?.firstUnread).toBeUndefined();
    await then(() => socket().receive(message(6)));
    expect([room?.unread, room?.firstUnread]).toEqual([1, 6]);
  });

  it('knows the members and who types, and forgets who stopped', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(0, { members: [member('me'), member('bo')], memberCount: 2 });
    const types = (userId: string, isTyping: boolean) => () => socket().receive({ type: 'typing', roomId: 'r', userId, username: userId, isTyping });
    await then(() => socket().receive({ type: 'user_joined', roomId: 'r', userId: 'cy', username: 'CY', timestamp: '' }));
    await then(types('bo', true));
    await then(types('cy', true));
    expect(room().typing.map(({ userId }) => userId)).toEqual(['bo', 'cy']);
    await then(types('cy', false));
    await then(undefined, 8_000);
    expect(room().typing).toEqual([]);
    await then(() => socket().receive({ type: 'presence', userId: 'bo', status: 'away', socketCount: 2, timestamp: '' }));
    expect(room().members).toContainEqual(member('bo', { status: 'away', socketCount: 2 }));
    await then(() => socket().receive({ type: 'user_left', roomId: 'r', userId: 'bo', username: 'BO', timestamp: '' }));
    expect([room().memberCount, room().members.length]).toEqual([2, 2]);
    await then(() => room().keystroke());
    expect(socket().last('typing')).toMatchObject({ isTyping: true });
    await then(() => room().stopTyping());
    expect(socket().last('typing')).toMatchObject({ isTyping: false });
  });

  it('goes on after a lost connection, from where it was or from the start', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(0);
    await then(() => socket().receive(message(1)));
    await then(() => socket().drop());
    expect(room().status).toBe('away');
    await then(undefined, 20_000);
    await then(() => socket().authenticate('s2'));
    await then(() => socket().forgot());
    await then(() => socket().joined('r', 2, { recovered: true, messages: [message(2)] }));
    expect(room().status).toBe('joined');
    expect(room().messages.map(({ offset }) => offset)).toEqual([1, 2]);
    await then(() => socket().drop());
    await then(undefined, 20_000);
    await then(() => socket().authenticate('s3'));
    await then(() => socket().forgot());
    await then(() => socket().joined('r', 9, { epoch: 'e2', recovered: false, messages: [message(9, { epoch: 'e2' })] }));
    expect(room().messages.map(({ offset }) => offset)).toEqual([9]);
    expect(room().unread).toBe(0);
  });

  it('comes back with its session, and asks who is there by now', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(0, { members: [member('me'), member('bo')], memberCount: 2 });
    await then(() => socket().receive(message(1)));
    await then(() => socket().drop());
    await then(undefined, 20_000);
    await then(() => socket().authenticate('s2'));
    await then(() => socket().ack('resume', { recovered: true, rooms: [{ roomId: 'r', recovered: true, epoch: 'e1', offset: 1 }] }));
    await then(() => socket().receive(message(2)));
    expect(room()).toMatchObject({ status: 'joined', memberCount: 2 });
    expect(room().messages.map(({ offset }) => offset)).toEqual([1, 2]);
    await then(() => socket().ack('members', { roomId: 'r', members: [member('me'), member('cy')], memberCount: 2, hasMore: false }));
    expect(room().members.map(({ userId }) => userId)).toEqual(['me', 'cy']);
    expect(socket().of('join')).toHaveLength(0);
  });

  it('shows how far its messages have come, also what was said before', async () => {
    const seen: unknown[] = [];
    const { room, Probe } = probe();
    const Mark = (): null => {
      seen.push(useReceipt('r', 3));
      return null;
    };
    await show(<App><Probe /><Mark /></App>);
    await then(() => socket().receive({ type: 'authenticated', sessionId: 's1', userId: 'me', nodeId: 'n', timestamp: '', receipts: true }));
    await then(() => socket().joined('r', 3, { messages: [1, 2, 3].map((offset) => message(offset, { userId: 'me' })) }));
    expect(seen.at(-1)).toEqual({ status: 'sent', deliveredTo: [], readBy: [] });
    const receipts = [{ userId: 'bo', delivered: 3, read: 1 }, { userId: 'me', delivered: 3, read: 3 }];
    await then(() => socket().ack('receipts', { roomId: 'r', epoch: 'e1', receipts, hasMore: false }));
    expect(seen.at(-1)).toEqual({ status: 'delivered', deliveredTo: ['bo'], readBy: [] });
    expect([...room().readBy]).toEqual([['bo', 1]]);
    await then(() => socket().receive({ type: 'receipt', roomId: 'r', userId: 'bo', offset: 3, status: 'read' }));
    expect(seen.at(-1)).toEqual({ status: 'read', deliveredTo: ['bo'], readBy: ['bo'] });
  });

  it('tells why it is refused, and asks again when told to', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await then(() => socket().authenticate());
    await then(() => socket().refuse('join', 'forbidden'));
    expect(room()).toMatchObject({ status: 'refused', error: { code: 'forbidden' } });
    await then(() => room().rejoin());
    await then(() => socket().ack('join', { roomId: 'r', epoch: 'e1', offset: 0, recovered: false }));
    expect(room().status).toBe('joined');
  });

  it('is back after the client was closed and connected again', async () => {
    const { room, Probe } = probe();
    let client: ReturnType<typeof useHubbub> | undefined;
    const Grab = (): null => {
      client = useHubbub();
      return null;
    };
    await show(<App><Grab /><Probe /></App>);
    await enter();
    await then(() => client?.close());
    expect(room().status).toBe('away');
    await then(() => client?.connect());
    await enter(4, { messages: [message(4)] });
    expect(room().status).toBe('joined');
    expect(host.textContent).toBe('c4');
  });

  it('is bounded', async () => {
    const { room, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter();
    await then(() => {
      for (let offset = 1; offset <= 1_000; offset++) socket().receive(message(offset));
    });
    expect(room().messages).toHaveLength(600);
    expect(room().history.hasOlder).toBe(true);
    await then(() => void room().loadOlder());
    expect(socket().last('history')).toMatchObject({ before: 401 });
  });

  it('renders once for what comes together', async () => {
    const { renders, Probe } = probe();
    await show(<App><Probe /></App>);
    await enter(0);
    const before = renders();
    await then(() => [1, 2, 3, 4].forEach((offset) => socket().receive(message(offset))));
    expect(renders()).toBe(before + 1);
    expect(host.textContent).toBe('c1 c2 c3 c4');
  });
});

describe('useRoomState', () => {
  it('renders only for the part it selects', async () => {
    let renders = 0;
    const Badge = (): ReactElement => {
      renders++;
      return <b>{useRoomState('r', (room) => room.unread)}</b>;
    };
    await show(<App><Badge /></App>);
    await enter();
    await then(() => socket().receive(message(1)));
    expect(host.textContent).toBe('1');
    const before = renders;
    await then(() => socket().receive({ type: 'typing', roomId: 'r', userId: 'bo', username: 'Bo', isTyping: true }));
    expect(renders).toBe(before);
  });
});

describe('useUnread', () => {
  it('adds up over rooms, and joins them', async () => {
    const Title = (): ReactElement => <b>{useUnread(['r', 's'])}</b>;
    await show(<App><Title /></App>);
    await then(() => socket().authenticate());
    for (const roomId of ['r', 's']) await then(() => socket().joined(roomId, 0));
    await then(() => [message(1), message(2), message(1, { roomId: 's' })].forEach((one) => socket().receive(one)));
    expect(host.textContent).toBe('3');
  });
});

describe('usePresence', () => {
  it('knows the members of joined rooms and follows one user', async () => {
    const { Probe } = probe();
    let renders = 0;
    const Bo = (): ReactElement => {
      renders++;
      return <b>{usePresence('bo')?.status ?? 'unknown'}</b>;
    };
    await show(<App><Probe /><Bo /></App>);
    expect(host.textContent).toBe('unknown');
    await enter(0, { members: [member('bo')] });
    expect(host.textContent).toBe('online');
    const before = renders;
    const tell = (userId: string, status: string) => () => socket().receive({ type: 'presence', userId, status, socketCount: 1, timestamp: '' });
    await then(tell('cy', 'away'));
    expect(renders).toBe(before);
    await then(tell('bo', 'offline'));
    expect(host.textContent).toBe('offline');
  });
});

describe('conversations', () => {
  const direct = (id: string, more: object = {}): object => ({ type: 'direct', id, userId: 'bo', username: 'Bo', content: id, epoch: 'p', offset: 1, timestamp: '', ...more });

  it('hold both sides, each message once', async () => {
    let talk: ReturnType<typeof useDirect> | undefined;
    let all: ReturnType<typeof useDirects> | undefined;
    const Talk = (): null => {
      talk = useDirect('bo');
      all = useDirects();
      return null;
    };
    await show(<App><Talk /></App>);
    await then(() => socket().authenticate());
    await then(() => socket().receive(direct('hello')));
    await then(() => socket().receive(direct('hello')));
    await then(() => void talk?.send('hi'));
    expect(talk?.outgoing).toMatchObject([{ content: 'hi', status: 'sending' }]);
    expect(socket().last('direct')).toMatchObject({ userId: 'bo', content: 'hi' });
    await then(() => socket().ack('direct', { messageId: 'd2', epoch: 'p', offset: 2 }));
    expect(talk?.outgoing).toEqual([]);
    expect(talk?.messages.map(({ userId, content }) => `${userId}: ${content}`)).toEqual(['bo: hello', 'me: hi']);
    expect(all?.directs).toMatchObject([{ userId: 'bo', username: 'Bo', unread: 1 }]);
    await then(() => talk?.markRead());
    expect(all?.directs[0]?.unread).toBe(0);
    await then(() => all?.close('bo'));
    expect(all?.directs).toEqual([]);
  });

  it('begin by themselves when somebody writes, or with what the application remembers', async () => {
    let all: ReturnType<typeof useDirects> | undefined;
    const Talk = (): null => {
      all = useDirects();
      return null;
    };
    await show(<App><Talk /></App>);
    await then(() => socket().authenticate());
    await then(() => socket().receive(direct('psst')));
    const earlier = [{ id: 'd0', userId: 'cy', username: 'Cy', content: 'before', timestamp: '' }];
    await then(() => all?.open('cy', { username: 'Cy', earlier }));
    expect(all?.directs.map(({ userId, username, unread }) => [userId, username, unread])).toEqual([['bo', 'Bo', 1], ['cy', 'Cy', 0]]);
    expect(all?.directs[1]?.messages).toEqual(earlier);
  });
});

describe('useHubbubEvent', () => {
  it('calls the newest listener while it is mounted', async () => {
    const heard: string[] = [];
    const Ear = ({ name }: { name: string }): null => {
      useHubbubEvent('notification', ({ title }) => heard.push(`${name} ${title}`));
      return null;
    };
    await show(<App><Ear name="a" /></App>);
    await then(() => socket().authenticate());
    const tell = (title: string) => () => socket().receive({ type: 'notification', title, body: '' });
    await then(tell('1'));
    await show(<App><Ear name="b" /></App>);
    await then(tell('2'));
    await show(<App>{null}</App>);
    await then(tell('3'));
    expect(heard).toEqual(['a 1', 'b 2']);
  });
});
