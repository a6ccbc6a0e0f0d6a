// RFC 6455 on the hub's own transport, by the profile `websocket` of the conformance
// example: echo at /echo, messages of at most 32 MiB.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { example } from './example.mjs';
import { until } from './support.mjs';

const FIN = 0x80;
const [MORE, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const MIB = 1024 * 1024;

let echo;
before(async () => {
  echo = await example('websocket');
});
after(() => echo.stop());

/** A frame of a client: masked, its length in the fewest bytes. */
function frame(first, payload = Buffer.alloc(0), { mask = randomBytes(4) } = {}) {
  const data = Buffer.from(payload);
  const length = data.length;
  let head;
  if (length < 126) head = Buffer.from([first, 0x80 | length]);
  else if (length < 65_536) {
    head = Buffer.from([first, 0x80 | 126, 0, 0]);
    head.writeUInt16BE(length, 2);
  } else {
    head = Buffer.alloc(10);
    head.set([first, 0x80 | 127]);
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  for (let i = 0; i < length; i += 1) data[i] ^= mask[i & 3];
  return Buffer.concat([head, mask, data]);
}

/** A connection that shows frames as they come. */
class Raw {
  frames = [];
  #rest = [];
  #size = 0;

  static async open(path = '/echo') {
    const raw = new Raw();
    const socket = connect(echo.port, '127.0.0.1');
    socket.setNoDelay(true);
    raw.socket = socket;
    raw.ended = once(socket, 'close');
    socket.on('error', () => {});
    const key = randomBytes(16).toString('base64');
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    let head = Buffer.alloc(0);
    while (!head.includes('\r\n\r\n')) head = Buffer.concat([head, (await once(socket, 'data'))[0]]);
    const end = head.indexOf('\r\n\r\n') + 4;
    raw.head = head.subarray(0, end).toString();
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    assert.match(raw.head, /^HTTP\/1\.1 101 /);
    assert.ok(raw.head.includes(accept.digest('base64')));
    socket.on('data', (piece) => raw.#take(piece));
    raw.#take(head.subarray(end));
    return raw;
  }

  #take(piece) {
    this.#rest.push(piece);
    this.#size += piece.length;
    for (;;) {
      const need = this.#need();
      if (this.#size < need.total) return;
      const all = this.#rest.length === 1 ? this.#rest[0] : Buffer.concat(this.#rest);
      if (need.header) {
        this.#rest = [all];
        const { header, length } = measure(all);
        if (this.#size < header + length) return;
        this.frames.push({ first: all[0], masked: all[1] >= 128, payload: all.subarray(header, header + length) });
        this.#rest = [all.subarray(header + length)];
        this.#size -= header + length;
      }
    }
  }

  #need() {
    const first = this.#rest.length === 1 ? this.#rest[0] : undefined;
    const head = first && first.length >= 10 ? first : Buffer.concat(this.#rest);
    if (head !== first) this.#rest = [head];
    if (head.length < 2) return { total: 2 };
    const { header, length } = measure(head);
    if (head.length < header) return { total: header };
    return { total: header + length, header };
  }

  send(...frames) {
    this.socket.write(Buffer.concat(frames));
  }

  /** The next frame. */
  async next(ms = 10_000) {
    await until(() => this.frames.length > 0 || this.socket.destroyed, 'a frame', ms);
    assert.ok(this.frames.length > 0, 'the connection ended without a frame');
    return this.frames.shift();
  }

  async echoes(first, payload, ms) {
    const got = await this.next(ms);
    assert.equal(got.first, FIN | first);
    assert.equal(got.masked, false);
    assert.ok(got.payload.equals(Buffer.from(payload)), 'the payload came back as it was');
  }

  /** The close frame's code and reason, and that the connection ends behind it. */
  async closed() {
    let got = await this.next();
    while ((got.first & 15) !== CLOSE) got = await this.next();
    await this.ended;
    const code = got.payload.length >= 2 ? got.payload.readUInt16BE(0) : undefined;
    return code;
  }
}

function measure(head) {
  const short = head[1] & 127;
  if (short < 126) return { header: 2, length: short };
  if (short === 126) return { header: 4, length: head.length >= 4 ? head.readUInt16BE(2) : 0 };
  return { header: 10, length: head.length >= 10 ? Number(head.readBigUInt64BE(2)) : 0 };
}

const code = (n, reason = '') => {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(n);
  return Buffer.concat([payload, Buffer.from(reason)]);
};

describe('1: framing (5.2)', () => {
  for (const length of [0, 125, 126, 127, 128, 65_535, 65_536]) {
    for (const [kind, byte] of [[TEXT, 0x2a], [BINARY, 0xfe]]) {
      test(`${kind === TEXT ? 'text' : 'binary'} of ${length} bytes`, async () => {
        const raw = await Raw.open();
        raw.send(frame(FIN | kind, Buffer.alloc(length, byte)));
        await raw.echoes(kind, Buffer.alloc(length, byte));
        raw.socket.destroy();
      });
    }
  }

  test('in pieces of one byte', async () => {
    const raw = await Raw.open();
    for (const byte of frame(FIN | TEXT, 'in pieces')) raw.socket.write(Buffer.from([byte]));
    await raw.echoes(TEXT, 'in pieces');
    raw.socket.destroy();
  });
});

describe('2: pings and pongs (5.5.2, 5.5.3)', () => {
  for (const payload of ['', 'hello', Buffer.from([0, 255, 254, 253]), Buffer.alloc(125, 0xfe)]) {
    test(`a ping with ${payload.length} bytes is answered with them`, async () => {
      const raw = await Raw.open();
      raw.send(frame(FIN | PING, payload));
      await raw.echoes(PONG, payload);
      raw.socket.destroy();
    });
  }

  test('ten pings have ten answers, in order', async () => {
    const raw = await Raw.open();
    raw.send(...Array.from({ length: 10 }, (_, i) => frame(FIN | PING, `p${i}`)));
    for (let i = 0; i < 10; i += 1) await raw.echoes(PONG, `p${i}`);
    raw.socket.destroy();
  });

  test('pongs that nobody asked for are ignored', async () => {
    const raw = await Raw.open();
    raw.send(frame(FIN | PONG, 'unsolicited'), frame(FIN | PONG), frame(FIN | PING, 'p'));
    await raw.echoes(PONG, 'p');
    raw.socket.destroy();
  });
});

const broken = {
  '2.5: a ping of 126 bytes': [frame(FIN | PING, Buffer.alloc(126))],
  '3: the first reserved bit': [frame(FIN | TEXT | 0x40, 'x')],
  '3: the second reserved bit': [frame(FIN | TEXT | 0x20, 'x')],
  '3: the third reserved bit': [frame(FIN | TEXT | 0x10, 'x')],
  '3: a reserved bit in a ping': [frame(FIN | PING | 0x40)],
  '3: all reserved bits in a close': [frame(FIN | CLOSE | 0x70)],
  '5.1: a fragmented ping': [frame(PING, 'a'), frame(FIN | MORE, 'b')],
  '5.2: a fragmented pong': [frame(PONG, 'a'), frame(FIN | MORE, 'b')],
  '5.9: a continuation of nothing, final': [frame(FIN | MORE, 'x')],
  '5.11: a continuation of nothing, not final': [frame(MORE, 'x')],
  '5.18: two beginnings': [frame(TEXT, 'a'), frame(FIN | TEXT, 'b')],
  '7.3.2: a close payload of one byte': [frame(FIN | CLOSE, 'x')],
  '7.3.6: a close payload of 126 bytes': [frame(FIN | CLOSE, code(1000, '*'.repeat(124)))],
};
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  broken[`4: opcode ${opcode}`] = [frame(FIN | opcode)];
  broken[`4: opcode ${opcode} with a payload`] = [frame(FIN | opcode, 'payload')];
}
for (const wrong of [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]) {
  broken[`7.9: close code ${wrong}`] = [frame(FIN | CLOSE, code(wrong))];
}
describe('what breaks the protocol is answered 1002, and what came before it is echoed', () => {
  for (const [what, frames] of Object.entries(broken)) {
    test(what, async () => {
      const raw = await Raw.open();
      raw.send(frame(FIN | TEXT, 'before'), ...frames, frame(FIN | TEXT, 'after'));
      await raw.echoes(TEXT, 'before');
      assert.equal(await raw.closed(), 1002);
      assert.equal(raw.frames.length, 0);
    });
  }
});

describe('5: fragments (5.4)', () => {
  test('a text in two, with a ping between', async () => {
    const raw = await Raw.open();
    raw.send(frame(TEXT, 'frag'), frame(FIN | PING, 'p'), frame(FIN | MORE, 'ment'));
    await raw.echoes(PONG, 'p');
    await raw.echoes(TEXT, 'fragment');
    raw.socket.destroy();
  });

  test('a binary in five with empty ones among them', async () => {
    const raw = await Raw.open();
    raw.send(frame(BINARY), frame(MORE, 'a'), frame(MORE), frame(MORE, 'b'), frame(FIN | MORE));
    await raw.echoes(BINARY, 'ab');
    raw.socket.destroy();
  });

  test('an empty text in three', async () => {
    const raw = await Raw.open();
    raw.send(frame(TEXT), frame(MORE), frame(FIN | MORE));
    await raw.echoes(TEXT, '');
    raw.socket.destroy();
  });
});

describe('6: UTF-8 (8.1)', () => {
  const good = ['κόσμε', '\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}', '\u{d7ff}\u{e000}\u{fffd}', 'Hello-µ@ßöäüàá-UTF-8!!'];
  for (const text of good) {
    test(`taken: ${JSON.stringify(text)}, whole and a byte a fragment`, async () => {
      const raw = await Raw.open();
      const bytes = Buffer.from(text);
      raw.send(frame(FIN | TEXT, bytes));
      await raw.echoes(TEXT, bytes);
      raw.send(...[...bytes].map((byte, i) => frame(i ? MORE : TEXT, [byte])), frame(FIN | MORE));
      await raw.echoes(TEXT, bytes);
      raw.socket.destroy();
    });
  }

  const bad = {
    'a surrogate': [0xed, 0xa0, 0x80],
    'beyond U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
    'overlong': [0xc0, 0xaf],
    'overlong NUL': [0xf0, 0x80, 0x80, 0x80],
    'a continuation alone': [0x80],
    'five bytes': [0xf8, 0x88, 0x80, 0x80, 0x80],
    'an impossible byte': [0xfe],
    'cut at the end': [0xce, 0xba, 0xe1, 0xbd],
  };
  for (const [what, bytes] of Object.entries(bad)) {
    test(`refused: ${what}`, async () => {
      const raw = await Raw.open();
      raw.send(frame(FIN | TEXT, bytes));
      assert.equal(await raw.closed(), 1007);
    });
  }

  test('a wrong byte in a fragment is refused before the message ends', async () => {
    const raw = await Raw.open();
    raw.send(frame(TEXT, [0xce, 0xba]), frame(MORE, [0xf4, 0x90]));
    assert.equal(await raw.closed(), 1007);
  });

  test('the reason of a close', async () => {
    const raw = await Raw.open();
    raw.send(frame(FIN | CLOSE, Buffer.concat([code(1000), Buffer.from([0xce, 0xf4])])));
    assert.equal(await raw.closed(), 1007);
  });
});

describe('7: the closing handshake (5.5.1, 7.4)', () => {
  for (const right of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
    test(`close code ${right} comes back`, async () => {
      const raw = await Raw.open();
      raw.send(frame(FIN | CLOSE, code(right, 'why')));
      assert.equal(await raw.closed(), right);
    });
  }

  test('without a code it comes back without one', async () => {
    const raw = await Raw.open();
    raw.send(frame(FIN | CLOSE));
    assert.equal(await raw.closed(), undefined);
  });

  test('nothing is answered behind the close', async () => {
    const raw = await Raw.open();
    raw.send(frame(FIN | CLOSE, code(1000)), frame(FIN | TEXT, 'x'), frame(FIN | PING, 'y'));
    assert.equal(await raw.closed(), 1000);
    assert.equal(raw.frames.length, 0);
  });

  test('a close in the middle of a message', async () => {
    const raw = await Raw.open();
    raw.send(frame(TEXT, 'half'), frame(FIN | CLOSE, code(1000)), frame(FIN | MORE, 'gone'));
    assert.equal(await raw.closed(), 1000);
  });

  test('with the longest reason', async () => {
    const raw = await Raw.open();
    raw.send(frame(FIN | CLOSE, code(1000, '*'.repeat(123))));
    assert.equal(await raw.closed(), 1000);
  });

  test('a frame that is not masked (5.1)', async () => {
    const raw = await Raw.open();
    raw.send(Buffer.from([FIN | TEXT, 1, 0x78]));
    assert.equal(await raw.closed(), 1002);
  });
});

describe('9 and 10: large messages', () => {
  const payload = Buffer.alloc(16 * MIB, 0x2a);
  for (const [kind, name] of [[TEXT, 'text'], [BINARY, 'binary']]) {
    test(`${name} of 16 MiB in one frame`, async () => {
      const raw = await Raw.open();
      raw.send(frame(FIN | kind, payload));
      await raw.echoes(kind, payload, 60_000);
      raw.socket.destroy();
    });

    for (const size of [4096, 65_536, MIB]) {
      test(`${name} of 16 MiB in frames of ${size}`, async () => {
        const raw = await Raw.open();
        for (let at = 0; at < payload.length; at += size) {
          const last = at + size >= payload.length;
          raw.send(frame((last ? FIN : 0) | (at ? MORE : kind), payload.subarray(at, at + size)));
        }
        await raw.echoes(kind, payload, 60_000);
        raw.socket.destroy();
      });
    }
  }

  test('4 MiB in frames of 64 bytes', async () => {
    const raw = await Raw.open();
    const text = Buffer.alloc(4 * MIB, 0x2a);
    const part = (first, at) => frame(first, text.subarray(at, at + 64), { mask: Buffer.alloc(4) });
    const frames = [part(TEXT, 0)];
    for (let at = 64; at < text.length - 64; at += 64) frames.push(part(MORE, at));
    raw.send(...frames, part(FIN | MORE, text.length - 64));
    await raw.echoes(TEXT, text, 60_000);
    raw.socket.destroy();
  });

  test('more than 32 MiB is refused by its header, in one frame and in many', async () => {
    const raw = await Raw.open();
    const head = Buffer.alloc(10);
    head.set([FIN | BINARY, 0x80 | 127]);
    head.writeBigUInt64BE(BigInt(32 * MIB + 1), 2);
    raw.send(head);
    assert.equal(await raw.closed(), 1009);
    const many = await Raw.open();
    for (let i = 0; i < 33 && !many.socket.destroyed; i += 1) {
      many.send(frame(i ? MORE : BINARY, Buffer.alloc(MIB)));
    }
    assert.equal(await many.closed(), 1009);
  });

  test('a thousand messages, each echoed in order', async () => {
    const raw = await Raw.open();
    for (let i = 0; i < 1000; i += 1) raw.send(frame(FIN | TEXT, `${i}`.padStart(64, '.')));
    for (let i = 0; i < 1000; i += 1) await raw.echoes(TEXT, `${i}`.padStart(64, '.'));
    raw.socket.destroy();
  });
});
