import { expectTypeOf, it } from 'vitest';
import { HubbubClient, type ConnectionState, type CustomEvent, type HistoryPage, type HubbubError, type Message, type ReceiptsPage, type Sent } from '../src/index.js';
import { useConnection, usePresence, useReceipt, useRoom, useRoomState, type HubbubProviderProps, type UserPresence } from '../src/react/index.js';

it('events, answers and states are typed', () => {
  const client = new HubbubClient();
  client.on('message', (message) => expectTypeOf(message).toEqualTypeOf<Message>());
  client.on('error', (error) => expectTypeOf(error).toEqualTypeOf<HubbubError>());
  // @ts-expect-error there is no such event
  client.on('mesage', () => {});
  // @ts-expect-error presence has three words
  expectTypeOf(client.setPresence).toBeCallableWith('busy');
  expectTypeOf(client.send).returns.toEqualTypeOf<Promise<Sent>>();
  client.onReceipt('r', ({ status }) => expectTypeOf(status).toEqualTypeOf<'delivered' | 'read'>());
  expectTypeOf(client.receipts).returns.resolves.toEqualTypeOf<ReceiptsPage>();
  expectTypeOf(client.history).returns.resolves.toEqualTypeOf<HistoryPage>();
  const at = (state: ConnectionState) => (state.status === 'reconnecting' ? state.retryAt : undefined);
  expectTypeOf(at).returns.toEqualTypeOf<number | null | undefined>();
});

interface Game {
  move: { x: number; y: number };
  chat: string;
}

it('custom events carry what the application says', () => {
  const client = new HubbubClient<Game>();
  expectTypeOf(client.publish).toBeCallableWith('r', 'move', { x: 1, y: 2 }, { volatile: true });
  // @ts-expect-error a move has two numbers
  expectTypeOf(client.publish).toBeCallableWith('r', 'move', { x: 1 });
  // @ts-expect-error there is no such event
  expectTypeOf(client.publish).toBeCallableWith('r', 'jump');
  client.onEvent('chat', (data, event) => {
    expectTypeOf(data).toEqualTypeOf<string>();
    expectTypeOf(event).toEqualTypeOf<CustomEvent>();
  });
  const any = new HubbubClient();
  any.onEvent('whatever', (data) => expectTypeOf(data).toEqualTypeOf<unknown>());
});

it('hooks are typed', () => {
  expectTypeOf(useConnection).returns.toEqualTypeOf<ConnectionState>();
  expectTypeOf(useRoom).returns.toHaveProperty('messages').toEqualTypeOf<readonly Message[]>();
  expectTypeOf(useRoom).returns.toHaveProperty('send').returns.toEqualTypeOf<Promise<Sent>>();
  expectTypeOf(useRoomState<number>).returns.toEqualTypeOf<number>();
  expectTypeOf(useReceipt).returns.toHaveProperty('status').toEqualTypeOf<'sent' | 'delivered' | 'read'>();
  expectTypeOf(usePresence).returns.toEqualTypeOf<UserPresence | undefined>();
  const client = new HubbubClient<Game>();
  const props: HubbubProviderProps = { client };
  // @ts-expect-error a client of one's own has its own options
  const both: HubbubProviderProps = { client, options: {} };
  expectTypeOf([props, both]).toExtend<HubbubProviderProps[]>();
});
