// A real hub and stock Socket.IO clients for the tests in this folder.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';

const HUB = process.env.HUBBUB_BIN ?? join(import.meta.dirname, '../../target/debug/hubbub');
export const SECRET = 'a secret of at least thirty-two bytes';
const START_MS = 15_000;

/** What a test that failed halfway has left open would keep the run from ending. */
const open = new Set();
after(async () => {
  for (const thing of open) await thing.close();
});

/** A hub process with a data directory that outlives it. */
export class Hub {
  #dir = mkdtempSync(join(tmpdir(), 'hubbub-socketio-'));
  #process;
  #log = [];
  #env;
  #listen = '127.0.0.1:0';

  /** `env` has keys such as `SOCKETIO__PING_INTERVAL_MS`. */
  static async start(env = {}) {
    const hub = new Hub();
    open.add(hub);
    hub.#env = Object.fromEntries(Object.entries(env).map(([k, v]) => [`HUBBUB__${k}`, String(v)]));
    await hub.start();
    return hub;
  }

  /** `http://127.0.0.1:PORT` of the last start. */
  origin = '';

  /** Starts the process, again on the port it had before if there was one. */
  async start() {
    const child = spawn(HUB, [], {
      cwd: this.#dir,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HUBBUB__SERVER__WORKERS: '2',
        HUBBUB__SERVER__LISTEN: this.#listen,
        HUBBUB__HISTORY__STORE: 'memory',
        HUBBUB__AUTH__JWT_SECRET: SECRET,
        HUBBUB__LOG__FORMAT: 'json',
        ...this.#env,
      },
    });
    this.#process = child;
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    let timer;
    try {
      this.#listen = await new Promise((resolve, reject) => {
        const fail = (why) => reject(new Error(`${HUB} ${why}; its log:\n${this.#log.join('\n')}`));
        timer = setTimeout(fail, START_MS, `was not listening after ${START_MS} ms`);
        child.once('error', (error) => fail(`could not be started: ${error.message}`));
        child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
        createInterface({ input: child.stderr }).on('line', (line) => {
          this.#log.push(line);
          if (this.#log.length > 200) this.#log.shift();
          const fact = parse(line);
          if (fact?.msg === 'listening') resolve(fact.address);
        });
      });
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.origin = `http://${this.#listen}`;
  }

  /** SIGKILL: no goodbye to anyone. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** SIGTERM: the hub drains. Gives its exit code. */
  async drain() {
    return this.#end('SIGTERM');
  }

  async #end(signal) {
    const child = this.#process;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    const [code] = await gone;
    return code;
  }

  /** The lines that the process has logged, each an object. */
  log() {
    return this.#log.map(parse).filter(Boolean);
  }

  async close() {
    open.delete(this);
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
    // Each test is a test of the log too.
    for (const line of this.#log) {
      if (!parse(line)) throw new Error(`a line of the log is no JSON: ${line}`);
      if (line.includes(SECRET) || line.includes('eyJ')) throw new Error(`the log shows a secret: ${line}`);
    }
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

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
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

/** Waits until a condition holds. */
export async function until(condition, what, ms = 5000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
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
