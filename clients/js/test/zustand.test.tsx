// @vitest-environment happy-dom
import { act, type ReactElement } from 'react';
import { createRoot } from 'react-dom/client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { useChat, useMessages } from '../examples/zustand.js';
import { FakeSocket, message, socket, sockets, tick } from './fake.js';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true, WebSocket: FakeSocket });

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

it('the zustand example joins what is shown, and forgets it when it disconnects', async () => {
  const host = document.createElement('div');
  const root = createRoot(host);
  const Room = (): ReactElement => <p>{useMessages('r').map(({ content }) => content).join(' ')}</p>;
  const then = (does: () => unknown): Promise<void> => act(async () => {
    await does();
    await tick();
  });
  await then(() => useChat.getState().connect('token', 'http://hub.test'));
  await then(() => root.render(<Room />));
  await then(() => socket().authenticate());
  await then(() => socket().joined('r', 1, { messages: [message(1)] }));
  await then(() => socket().receive(message(2)));
  expect(host.textContent).toBe('c1 c2');
  expect(useChat.getState().connection.status).toBe('connected');
  const sent = useChat.getState().send('r', 'hi');
  await then(() => socket().ack('message', { messageId: 'm3', epoch: 'e1', offset: 3 }));
  expect(await sent).toMatchObject({ offset: 3 });
  await then(() => root.unmount());
  expect(socket().of('leave')).toHaveLength(1);
  await then(() => useChat.getState().disconnect());
  expect(socket().closedByClient).toBe(true);
});
