// What the page makes of events, without a browser.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { load } from './bundle.mjs';

const { Room } = await load('model/room.ts');
const { rowsOf } = await load('model/rows.ts');
const { dayOf, hue, initials, listNames } = await load('format.ts');

const at = (minutes) => new Date(2026, 2, 10, 12, minutes).toISOString();
const message = (offset, userId = 'ada', minutes = 0) => ({
  type: 'message', id: `m${offset}`, roomId: 'r', userId, username: userId, content: `c${offset}`, epoch: 'e', offset, timestamp: at(minutes),
});
const joined = (more = {}) => ({ roomId: 'r', epoch: 'e', offset: 0, members: [], memberCount: 0, recovered: false, messages: [], ...more });

function room(more) {
  const it = new Room('r', () => {});
  it.enter(joined(more));
  return it;
}

describe('rows', () => {
  const now = new Date(2026, 2, 11, 9, 0);
  const kinds = (r) => rowsOf(r, 'me', true, now).map((row) => row.kind);

  it('group an author until a pause, a day or another author', () => {
    const r = room();
    for (const m of [message(1), message(2), message(3, 'bo', 1), message(4, 'bo', 20)]) r.add(m, false, true, false);
    const rows = rowsOf(r, 'me', true, now);
    assert.deepEqual(kinds(r), ['start', 'day', 'message', 'message', 'message', 'message']);
    assert.equal(rows[1].words, 'Yesterday');
    assert.deepEqual(rows.slice(2).map((row) => row.first), [true, false, true, true]);
  });

  it('mark where the news begin, and end with what waits', () => {
    const r = room();
    r.add(message(1), false, true, false);
    r.add(message(2), false, false, false);
    r.pending.push({ key: 'k', content: 'x', at: now, failed: undefined });
    assert.deepEqual(kinds(r), ['start', 'day', 'message', 'new', 'message', 'day', 'pending']);
  });
});

describe('rows of what waits', () => {
  const now = new Date(2026, 2, 11, 9, 0);
  const pending = (key, failed) => ({ key, content: key, at: now, failed });

  it('tell the wait once, at the last', () => {
    const r = room();
    r.pending.push(pending('a'), pending('b'));
    const lasts = () => rowsOf(r, 'me', false, now).filter((row) => row.kind === 'pending').map((row) => row.last);
    assert.deepEqual(lasts(), [false, true]);
    const before = rowsOf(r, 'me', false, now).at(-1).version;
    r.pending.push(pending('c'));
    assert.deepEqual(lasts(), [false, false, true]);
    assert.notEqual(rowsOf(r, 'me', false, now).at(-2).version, before, 'drawn again without its note');
  });

  it('know an empty room from one with a past', () => {
    const r = room();
    const start = () => rowsOf(r, 'me', true, now).find((row) => row.kind === 'start');
    const { version } = start();
    assert.equal(start().empty, true);
    r.pending.push(pending('a'));
    assert.equal(start().empty, false);
    assert.notEqual(start().version, version);
  });
});

describe('a room', () => {
  it('counts as news only what came after the join, from others, unseen', () => {
    const r = room({ offset: 2, messages: [message(1), message(2)] });
    r.add(message(1), false, false, false);
    r.add(message(2), false, false, false);
    r.add(message(3), false, true, false);
    r.add(message(4, 'me'), true, false, false);
    r.add(message(5), false, false, false);
    r.add(message(6), false, false, false);
    assert.deepEqual([r.unread, r.unreadFrom], [2, 5]);
  });

  it('shows an own message once, waiting or stored', () => {
    const r = room();
    r.pending.push({ key: 'a', content: 'c1', at: new Date(), failed: undefined }, { key: 'b', content: 'c1', at: new Date(), failed: undefined });
    r.add(message(1, 'me'), true, true, false);
    assert.deepEqual(r.pending.map((p) => p.key), ['b']);
    r.confirm('a');
    assert.equal(r.pending.length, 1);
  });

  it('pages back past events that are no messages', () => {
    const r = room({ offset: 9, messages: [message(9)] });
    r.add(message(9), false, true, false);
    assert.equal(r.oldest, 9);
    r.prepend({ messages: [{ type: 'event', offset: 7 }, { type: 'event', offset: 8 }], hasMore: true });
    assert.deepEqual([r.oldest, r.hasOlder], [7, true]);
    r.prepend({ messages: [message(1)], hasMore: false });
    assert.deepEqual([r.messages.map((m) => m.offset), r.hasOlder], [[1, 9], false]);
  });

  it('is bounded, and can fetch again what it let go', () => {
    const r = room();
    for (let i = 1; i <= 700; i++) r.add(message(i), false, true, false);
    assert.ok(r.messages.length <= 600);
    assert.deepEqual([r.hasOlder, r.oldest], [true, r.messages[0].offset]);
  });

  it('keeps the number of people right', () => {
    const ada = { userId: 'ada', username: 'Ada', status: 'online', socketCount: 1 };
    const r = room({ members: [ada], memberCount: 150 });
    r.userJoined({ userId: 'bo', username: 'Bo' });
    r.userJoined({ userId: 'bo', username: 'Bo' });
    assert.equal(r.memberCount, 151);
    r.presence({ userId: 'bo', status: 'away', socketCount: 2 });
    assert.equal(r.members.get('bo').status, 'away');
    r.userLeft({ userId: 'bo' });
    assert.deepEqual([r.memberCount, r.members.has('bo')], [150, false]);
  });

  it('lets nobody type for ever', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const r = room();
    r.setTyping({ userId: 'bo', username: 'Bo', isTyping: true });
    assert.equal(r.typing.size, 1);
    t.mock.timers.tick(8_000);
    assert.equal(r.typing.size, 0);
    r.setTyping({ userId: 'bo', username: 'Bo', isTyping: true });
    r.add(message(1, 'bo'), false, true, false);
    assert.equal(r.typing.size, 0);
  });
});

describe('words', () => {
  it('for names', () => {
    assert.deepEqual(['Ada', 'ada lovelace', '  ', 'Émile'].map(initials), ['A', 'AL', '?', 'É']);
    assert.equal(listNames(['A', 'B', 'C']), 'A, B and 1 other');
    for (let i = 0; i < 500; i++) assert.match(hue(`guest-${i * 7919}`), /^hue-[0-7]$/);
  });

  it('for days', () => {
    const now = new Date(2026, 2, 11, 0, 5);
    assert.equal(dayOf(new Date(2026, 2, 11, 0, 1), now), 'Today');
    assert.equal(dayOf(new Date(2026, 2, 10, 23, 59), now), 'Yesterday');
  });
});
