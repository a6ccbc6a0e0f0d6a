// A hub process of a test's own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const HUB = process.env.HUBBUB_BIN ?? join(import.meta.dirname, '../../target/debug/hubbub');
const START_MS = 15_000;
/** Above the hub's own bound on a drain. */
const DRAIN_MS = 30_000;
const LOG_LINES = 200;

/** One line of the log; undefined if it is no JSON. */
function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** With a data directory that outlives the process. */
export class HubProcess {
  #dir = mkdtempSync(join(tmpdir(), 'hubbub-test-'));
  #process;
  #log = [];
  /** What no line may hold: the keys of the hub, and tokens, which begin like this whatever they say. */
  #secrets = ['eyJ'];
  /** The first line that is no JSON or holds one of these. */
  #unsound;
  #env;
  #listen = '127.0.0.1:0';

  /** `http://127.0.0.1:PORT` of the last start. */
  origin = '';

  /** `env` is added to the environment of the process. */
  constructor(env) {
    this.#env = env;
    for (const [name, value] of Object.entries(env ?? {})) {
      if (/__(JWT_SECRET|API_KEY)$/.test(name) && value) this.#secrets.push(value);
    }
  }

  /** Starts the process, again on the port it had before if there was one. */
  async start() {
    const child = spawn(HUB, [], {
      cwd: this.#dir,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HUBBUB__SERVER__LISTEN: this.#listen,
        HUBBUB__LOG__FORMAT: 'json',
        ...this.#env,
      },
    });
    this.#process = child;
    // Not left behind when a test file ends early.
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    let timer;
    try {
      this.#listen = await new Promise((resolve, reject) => {
        const fail = (why) => reject(this.#failure(`${HUB} ${why}`));
        timer = setTimeout(fail, START_MS, `was not listening after ${START_MS} ms`);
        child.once('error', (error) => fail(`could not be started: ${error.message}`));
        child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
        createInterface({ input: child.stderr }).on('line', (line) => {
          this.#log.push(line);
          if (this.#log.length > LOG_LINES) this.#log.shift();
          const fact = parse(line);
          if (!fact || this.#secrets.some((secret) => line.includes(secret))) this.#unsound ??= line;
          if (fact?.msg === 'listening') resolve(fact.address);
        });
      });
    } catch (error) {
      // A hub that did not make it must not stay behind.
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.origin = `http://${this.#listen}`;
  }

  #failure(why) {
    return new Error(`${why}; its log:\n${this.#log.join('\n')}`);
  }

  #runs() {
    const child = this.#process;
    return child?.pid && child.exitCode === null && child.signalCode === null;
  }

  /** SIGKILL: no goodbye to anyone. */
  async kill() {
    if (!this.#runs()) return;
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
  }

  /** SIGSTOP, for as long as something takes: nothing is answered meanwhile. */
  async frozen(task) {
    this.#process.kill('SIGSTOP');
    try {
      return await task();
    } finally {
      this.#process.kill('SIGCONT');
    }
  }

  /** SIGTERM: the hub says goodbye, finishes what it has and ends. Gives its exit code. */
  async drain() {
    this.#process.kill('SIGTERM');
    return this.ended();
  }

  /** Waits until the process has ended. Gives its exit code. */
  async ended() {
    const child = this.#process;
    if (!this.#runs()) return child.exitCode;
    const gone = once(child, 'exit');
    let timer;
    try {
      const late = new Promise((_, reject) => {
        const fail = () => reject(this.#failure(`the hub did not end within ${DRAIN_MS} ms`));
        timer = setTimeout(fail, DRAIN_MS);
      });
      return (await Promise.race([gone, late]))[0];
    } finally {
      clearTimeout(timer);
    }
  }

  /** The newest lines that the process has logged, each an object. */
  log() {
    return this.#log.map(parse).filter(Boolean);
  }

  /** Each test is a test of the log too, of every line that the process ever wrote. */
  async close() {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
    const line = this.#unsound;
    if (line !== undefined) throw new Error(`a line of the log is no JSON or shows a secret: ${line}`);
  }
}
