// A redis-server of a test's own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './port.mjs';
import { until } from './until.mjs';

export class Redis {
  #process;
  #dir = mkdtempSync(join(tmpdir(), 'hubbub-redis-'));

  /** Starts it with an append-only file, as deploy/ has it. */
  static async start() {
    const redis = new Redis();
    redis.port = await freePort();
    redis.url = `redis://127.0.0.1:${redis.port}`;
    await redis.#launch();
    return redis;
  }

  /** Kills it and starts it again with what its file holds. */
  async restart() {
    await this.#kill();
    await this.#launch();
  }

  async #launch() {
    const child = spawn('redis-server', [
      '--port', this.port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--dir', this.#dir,
    ].map(String), { stdio: 'ignore' });
    this.#process = child;
    let failed;
    child.once('error', (error) => (failed = error));
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    await until(() => {
      if (failed || child.exitCode !== null) throw failed ?? new Error('redis-server ended');
      return new Promise((resolve) => {
        const socket = connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'));
        socket.once('data', (bytes) => {
          resolve(bytes.includes('PONG'));
          socket.destroy();
        });
        socket.once('error', () => resolve(false));
        socket.once('close', () => resolve(false));
      });
    }, 'Redis answers', 10_000);
  }

  async #kill() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await gone;
    }
  }

  async close() {
    await this.#kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
