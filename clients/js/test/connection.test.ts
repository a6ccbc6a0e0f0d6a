import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubbubError, type ConnectionState } from '../src/index.js';
import { connected, newClient, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('connecting', () => {
  it('offers the token as a subprotocol, never in the address', async () => {
    newClient({ token: 'abc.def' }).connect();
    await tick();
    expect(socket().url).toBe('ws://hub.test/ws');
    expect(socket().protocols).toEqual(['hubbub', 'abc.def']);
  });

  it('is connected with the first frame of the hub, not before', async () => {
    const client = newClient();
    expect(client.state.status).toBe('closed');
    client.connect();
    await tick();
    expect(client.state.status).toBe('connecting');
    socket().authenticate('s9');
    expect(client.state).toEqual({ status: 'connected', sessionId: 's9', userId: 'me' });
  });

  it('gives up on an attempt that stays silent', async () => {
    const client = newClient({ connectTimeoutMs: 3_000 }).connect();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(client.state).toMatchObject({ status: 'reconnecting', attempt: 0 });
    expect(socket().closedByClient).toBe(true);
  });

  it('asks for a token at every attempt and waits for it', async () => {
    let n = 0;
    newClient({ token: async () => `t${++n}`, backoff: { baseMs: 100 } }).connect();
    await tick();
    expect(socket().protocols).toEqual(['hubbub', 't1']);
    socket().drop();
    await vi.advanceTimersByTimeAsync(50);
    expect(socket().protocols).toEqual(['hubbub', 't2']);
  });

  it('retries when the token cannot be had, and stops when it is refused', async () => {
    const token = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error('no network'));
    token.mockRejectedValueOnce(new HubbubError('forbidden', 'You were banned.'));
    const client = newClient({ token, backoff: { baseMs: 100 } }).connect();
    await tick();
    expect(client.state).toMatchObject({ status: 'reconnecting', reason: 'no network' });
    await vi.advanceTimersByTimeAsync(50);
    expect(client.state).toEqual({ status: 'closed', reason: 'You were banned.', code: 4401 });
  });

  it('ignores what is not a frame', async () => {
    const client = await connected();
    socket().raw('{');
    socket().raw('null');
    socket().raw('[1]');
    expect(client.state.status).toBe('connected');
  });
});

describe('reconnecting', () => {
  it('backs off exponentially with full jitter and a cap', async () => {
    const client = newClient({ backoff: { baseMs: 1_000, capMs: 5_000 } }).connect();
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      await tick();
      socket().drop();
      const { state } = client;
      if (state.status !== 'reconnecting' || state.retryAt === null) throw new Error(state.status);
      waits.push(state.retryAt - Date.now());
      await vi.advanceTimersByTimeAsync(state.retryAt - Date.now());
    }
    expect(waits).toEqual([500, 1_000, 2_000, 2_500, 2_500]);
  });

  it('starts the backoff over only after a stable connection', async () => {
    const client = await connected({ backoff: { baseMs: 1_000 } });
    socket().drop();
    await vi.advanceTimersByTimeAsync(500);
    socket().authenticate();
    socket().drop();
    expect(client.state).toMatchObject({ attempt: 1 });
    await vi.advanceTimersByTimeAsync(1_000);
    socket().authenticate();
    await vi.advanceTimersByTimeAsync(5_000);
    socket().drop();
    expect(client.state).toMatchObject({ attempt: 0 });
  });

  it('says when it tries, and that it is trying', async () => {
    const states: ConnectionState[] = [];
    const client = await connected();
    client.on('state', (state) => states.push(state));
    socket().drop(1012, 'restart');
    await vi.advanceTimersByTimeAsync(250);
    socket().authenticate();
    expect(states.map((s) => [s.status, 'retryAt' in s && s.retryAt !== null])).toEqual([
      ['reconnecting', true],
      ['reconnecting', false],
      ['connected', false],
    ]);
  });

  it('tells the close in words, and by its code', async () => {
    const client = await connected();
    socket().drop(1012, 'draining');
    expect(client.state).toMatchObject({ reason: 'the hub is restarting', code: 1012 });
    await vi.advanceTimersByTimeAsync(250);
    socket().drop(4999, 'moved away');
    expect(client.state).toMatchObject({ reason: 'moved away', code: 4999 });
  });

  it('asks the hub at once when the network says that it is gone', async () => {
    const listeners = new Map<string, () => void>();
    vi.stubGlobal('addEventListener', (type: string, listener: () => void) => listeners.set(type, listener));
    vi.stubGlobal('removeEventListener', (type: string) => listeners.delete(type));
    const client = await connected();
    listeners.get('offline')?.();
    expect(socket().of('ping')).toHaveLength(1);
    socket().receive({ type: 'pong' });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state.status).toBe('connected');
    listeners.get('offline')?.();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(client.state).toMatchObject({ status: 'reconnecting', code: 1006 });
    client.close();
    expect(listeners.size).toBe(0);
  });

  it('waits as long as the hub asked, once', async () => {
    const client = await connected();
    socket().receive({ type: 'closing', reason: 'drain', retryAfterMs: 7_000 });
    socket().drop(1012);
    await vi.advanceTimersByTimeAsync(6_999);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sockets).toHaveLength(2);
    socket().drop();
    expect(client.state).toMatchObject({ attempt: 1, retryAt: Date.now() + 500 });
  });

  it('tries at once when asked', async () => {
    const client = await connected({ backoff: { baseMs: 20_000 } });
    socket().drop();
    client.retryNow();
    await tick();
    expect(sockets).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(sockets).toHaveLength(2);
  });

  it.each([1000, 1001, 1006, 1011, 1012, 4408, 4413])('comes back after %i', async (code) => {
    const client = await connected();
    socket().drop(code);
    expect(client.state.status).toBe('reconnecting');
  });

  it.each([4400, 4401, 4403, 4409, 4429, 4499])('stays away after %i', async (code) => {
    const client = await connected({ token: 'fixed' });
    socket().drop(code);
    expect(client.state).toMatchObject({ status: 'closed', code });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(sockets).toHaveLength(1);
    client.connect();
    await tick();
    expect(sockets).toHaveLength(2);
  });

  it('tries a fresh token once after 4401', async () => {
    const client = await connected({ token: () => 'fresh' });
    socket().drop(4401);
    expect(client.state.status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(1_000);
    socket().drop(4401);
    expect(client.state).toMatchObject({ status: 'closed', code: 4401 });
  });
});

describe('watching', () => {
  it('asks a silent hub for a sign of life', async () => {
    const client = await connected({ heartbeatMs: 10_000 });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(socket().of('ping')).toHaveLength(1);
    socket().receive({ type: 'pong' });
    await vi.advanceTimersByTimeAsync(9_999);
    expect(client.state.status).toBe('connected');
    await vi.advanceTimersByTimeAsync(1 + 5_000);
    expect(client.state.status).toBe('reconnecting');
  });

  it('looks at once when the network or the page is back, unless the hub asked for patience', async () => {
    const target = new EventTarget();
    vi.stubGlobal('addEventListener', target.addEventListener.bind(target));
    vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target));
    const doc = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    vi.stubGlobal('document', doc);

    const client = await connected({ backoff: { baseMs: 20_000 } });
    target.dispatchEvent(new Event('online'));
    expect(socket().of('ping')).toHaveLength(1);

    socket().drop();
    doc.visibilityState = 'hidden';
    doc.dispatchEvent(new Event('visibilitychange'));
    await tick();
    expect(sockets).toHaveLength(1);
    doc.visibilityState = 'visible';
    doc.dispatchEvent(new Event('visibilitychange'));
    await tick();
    expect(sockets).toHaveLength(2);

    socket().authenticate();
    socket().receive({ type: 'closing', reason: 'drain', retryAfterMs: 5_000 });
    socket().drop(1012);
    target.dispatchEvent(new Event('online'));
    await tick();
    expect(sockets).toHaveLength(2);

    client.close();
    target.dispatchEvent(new Event('online'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(2);
    expect(client.state).toEqual({ status: 'closed', reason: 'closed by this client' });
  });

  it('sends a fresh token before the old one ends', async () => {
    let n = 0;
    const client = await connected({ token: () => `t${++n}` });
    const told = vi.fn();
    client.on('token_expiring', told);
    socket().receive({ type: 'token_expiring', at: '2026-01-01T00:00:00.000Z' });
    await tick();
    expect(told).toHaveBeenCalledOnce();
    expect(socket().last('auth')).toMatchObject({ token: 't2' });
    await socket().ack('auth');
    expect(client.state.status).toBe('connected');
  });
});
