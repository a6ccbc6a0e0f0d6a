import { expectTypeOf, it } from 'vitest';
import { HubbubClient, type ConnectionState, type HistoryPage, type HubbubError, type Message, type Sent } from '../src/index.js';

it('events, answers and states are typed', () => {
  const client = new HubbubClient();
  client.on('message', (message) => expectTypeOf(message).toEqualTypeOf<Message>());
  client.on('error', (error) => expectTypeOf(error).toEqualTypeOf<HubbubError>());
  // @ts-expect-error there is no such event
  client.on('mesage', () => {});
  // @ts-expect-error presence has three words
  expectTypeOf(client.setPresence).toBeCallableWith('busy');
  expectTypeOf(client.send).returns.toEqualTypeOf<Promise<Sent>>();
  expectTypeOf(client.history).returns.resolves.toEqualTypeOf<HistoryPage>();
  const at = (state: ConnectionState) => (state.status === 'reconnecting' ? state.retryAt : undefined);
  expectTypeOf(at).returns.toEqualTypeOf<number | null | undefined>();
});
