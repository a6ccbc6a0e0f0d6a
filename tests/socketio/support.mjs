// A real hub and stock Socket.IO clients for the tests in this folder.
import { createHmac } from 'node:crypto';
import { after } from 'node:test';
import { io } from 'socket.io-client';
import { HubProcess } from '../node/hub.mjs';
import { until } from '../node/until.mjs';

export { until };

export const SECRET = 'a secret of at least thirty-two bytes';

/** What a test that failed halfway has left open would keep the run from ending. */
const open = new Set();
after(async () => {
  for (const thing of open) await thing.close();
});

/** A hub process that takes the tokens of these tests. */
export class Hub extends HubProcess {
  /** `env` has keys such as `SOCKETIO__PING_INTERVAL_MS`. */
  static async start(env = {}) {
    const hub = new Hub({
      HUBBUB__SERVER__WORKERS: '2',
      HUBBUB__HISTORY__STORE: 'memory',
      HUBBUB__AUTH__JWT_SECRET: SECRET,
      ...Object.fromEntries(Object.entries(env).map(([k, v]) => [`HUBBUB__${k}`, String(v)])),
    });
    open.add(hub);
    await hub.start();
    return hub;
  }

  async close() {
    open.delete(this);
    await super.close();
  }

  /** The value of a metric, with its labels as they stand or summed; 0 if it is not there. */
  async metric(name) {
    const text = await (await fetch(`${this.origin}/metrics`)).text();
    const starts = name.endsWith('}') ? [`${name} `] : [`${name} `, `${name}{`];
    const lines = text.split('\n').filter((line) => starts.some((start) => line.startsWith(start)));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** One Engine.IO request. */
  engine(query, options) {
    return fetch(`${this.origin}/socket.io/?EIO=4&transport=polling${query}`, options);
  }

  /** Opens a polling connection by hand and gives its sid. */
  async sid() {
    const body = await (await this.engine('')).text();
    return JSON.parse(body.slice(1)).sid;
  }
}

/** A token that the hub of these tests takes. */
export function token(sub, claims = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, name: sub, exp, ...claims })}`;
  return `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
}

export const TRANSPORTS = {
  'websocket only': ['websocket'],
  'polling only': ['polling'],
  'polling, then upgrade': ['polling', 'websocket'],
};

/** A stock client that is not connected to others; `close` is the caller's. */
export function client(hub, { namespace = '/', user = 'ada', make = io, ...options } = {}) {
  const socket = make(`${hub.origin}${namespace}`, {
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    auth: { token: token(user) },
    ...options,
  });
  open.add(socket);
  return socket;
}

/** Resolves with the arguments of the next event; rejects after `ms`. */
export function next(emitter, event, ms = 5000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.off(event, heard);
      reject(new Error(`no ${event} within ${ms} ms`));
    }, ms);
    const heard = (...args) => {
      clearTimeout(timer);
      resolve(args);
    };
    emitter.once(event, heard);
  });
}

/** A client that is connected and, where it should be, upgraded. */
export async function connected(hub, options) {
  const socket = client(hub, options);
  try {
    await next(socket, 'connect');
    const last = options?.transports?.at(-1);
    if (last) await until(() => socket.io.engine.transport.name === last, `on ${last}`);
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/** A member on the JSON wire. */
export class JsonMember {
  messages = [];

  static async enter(hub, user, room) {
    const member = new JsonMember();
    const socket = new WebSocket(`${hub.origin.replace('http', 'ws')}/ws?token=${token(user)}`);
    member.socket = socket;
    open.add(member);
    socket.onmessage = ({ data }) => member.messages.push(JSON.parse(data));
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error('the JSON member could not connect'));
    });
    member.send({ type: 'join', roomId: room });
    await until(() => member.messages.some((m) => m.type === 'joined'), 'the JSON member joined');
    return member;
  }

  send(event) {
    this.socket.send(JSON.stringify(event));
  }

  async sees(content) {
    const found = () => this.messages.find((m) => m.type === 'message' && m.content === content);
    return until(found, `the JSON member sees ${content}`);
  }

  close() {
    this.socket.close();
  }
}
