// What the page makes of a conversation, without a browser.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { load } from './bundle.mjs';

const { rowsOf, receiptWords } = await load('chat/rows.ts');
const { roomName } = await load('chat/place.ts');
const { dayOf, hue, initials, listNames, nameOf } = await load('format.ts');

const at = (minutes) => new Date(2026, 2, 10, 12, minutes).toISOString();
const line = (offset, userId = 'ada', minutes = 0) => ({ id: `m${offset}`, userId, username: userId, content: `c${offset}`, epoch: 'e', offset, timestamp: at(minutes) });
const talk = (more = {}) => ({ messages: [], outgoing: [], hasOlder: false, unknown: false, ...more });
const outgoing = (key, status = 'sending') => ({ key, content: key, at: new Date(2026, 2, 11, 9, 0).getTime(), status });
const now = new Date(2026, 2, 11, 9, 0);
const kinds = (t) => rowsOf(t, 'me', now).map((row) => row.kind);

describe('rows', () => {
  it('group an author until a pause, a day or another author', () => {
    const rows = rowsOf(talk({ messages: [line(1), line(2), line(3, 'bo', 1), line(4, 'bo', 20)] }), 'me', now);
    assert.deepEqual(rows.map((row) => row.kind), ['start', 'day', 'message', 'message', 'message', 'message']);
    assert.equal(rows[1].words, 'Yesterday');
    assert.deepEqual(rows.slice(2).map((row) => row.first), [true, false, true, true]);
  });

  it('mark where the news begin, and end with what waits', () => {
    const t = talk({ messages: [line(1), line(2)], firstUnread: 2, outgoing: [outgoing('a'), outgoing('b')] });
    assert.deepEqual(kinds(t), ['start', 'day', 'message', 'new', 'message', 'day', 'outgoing', 'outgoing']);
    assert.deepEqual(rowsOf(t, 'me', now).slice(-2).map((row) => row.last), [false, true]);
  });

  it('begin with a welcome, a way back, or nothing while nothing is known', () => {
    assert.equal(rowsOf(talk(), 'me', now)[0].empty, true);
    assert.equal(rowsOf(talk({ outgoing: [outgoing('a')] }), 'me', now)[0].empty, false);
    assert.deepEqual(kinds(talk({ hasOlder: true, messages: [line(1)] })), ['older', 'day', 'message']);
    assert.deepEqual(kinds(talk({ unknown: true })), []);
  });

  it('know the newest own message, unless another one is under way', () => {
    const messages = [line(1, 'me'), line(2, 'me'), line(3)];
    const own = (more) => rowsOf(talk({ messages, ...more }), 'me', now).filter((row) => row.lastOwn).map((row) => row.line.offset);
    assert.deepEqual(own(), [2]);
    assert.deepEqual(own({ outgoing: [outgoing('a')] }), []);
    assert.deepEqual(own({ outgoing: [outgoing('a', 'failed')] }), [2]);
  });

  it('take messages of a backend that named nobody', () => {
    const rows = rowsOf(talk({ messages: [{ ...line(1), userId: undefined, username: undefined }, line(2)] }), 'me', now);
    assert.deepEqual(rows.slice(2).map((row) => [row.first, row.mine]), [[true, false], [true, false]]);
  });

  it('have keys of their own', () => {
    const keys = rowsOf(talk({ messages: [line(1), { ...line(1), epoch: 'f' }], outgoing: [outgoing('a')] }), 'me', now).map((row) => row.key);
    assert.equal(new Set(keys).size, keys.length);
  });
});

describe('words', () => {
  it('for receipts', () => {
    const names = new Map([['bo', 'Bo'], ['cy', 'Cy'], ['di', 'Di']]);
    const words = (read, delivered, others = 5) => receiptWords(4, new Map(read), new Map(delivered), names, others).words;
    assert.equal(words([['bo', 3]], []), 'Sent');
    assert.equal(words([['bo', 3]], [['bo', 4]]), 'Delivered to Bo');
    assert.equal(words([['cy', 9], ['bo', 4]], []), 'Read by Bo and Cy');
    assert.equal(words([['di', 4], ['cy', 4], ['bo', 4]], []), 'Read by Bo, Cy and 1 other');
    assert.equal(words([['cy', 9], ['bo', 4]], [], 2), 'Read by everyone');
    assert.equal(words([['bo', 4]], [], 1), 'Read by Bo');
  });

  it('for names', () => {
    assert.deepEqual(['Ada', 'ada lovelace', '  ', 'Émile'].map(initials), ['A', 'AL', '?', 'É']);
    assert.deepEqual([{ username: 'Ann', userId: 'a' }, { userId: 'a' }, {}].map(nameOf), ['Ann', 'a', 'The hub']);
    assert.equal(listNames(['A', 'B', 'C']), 'A, B and 1 other');
    for (let i = 0; i < 500; i++) assert.match(hue(`guest-${i * 7919}`), /^hue-[0-7]$/);
    assert.deepEqual([' # my  room ', '##x', '', ' # ', 'a\u0007'].map(roomName), ['my-room', '#x', undefined, undefined, undefined]);
  });

  it('for days', () => {
    const midnight = new Date(2026, 2, 11, 0, 5);
    assert.equal(dayOf(new Date(2026, 2, 11, 0, 1), midnight), 'Today');
    assert.equal(dayOf(new Date(2026, 2, 10, 23, 59), midnight), 'Yesterday');
  });
});
