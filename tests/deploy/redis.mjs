// A redis-server of the test's own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../socketio/support.mjs';
import { freePort } from './nginx.mjs';

export class Redis {
  #process;

  /** Starts it with an append-only file, as deploy/ has it. */
  static async start() {
    const redis = new Redis();
    redis.dir = mkdtempSync(join(tmpdir(), 'hubbub-redis-'));
    const port = await freePort();
    redis.url = `redis://127.0.0.1:${port}/0`;
    const child = spawn('redis-server', [
      '--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--dir', redis.dir,
    ].map(String), { stdio: 'ignore' });
    redis.#process = child;
    let failed;
    child.once('error', (error) => (failed = error));
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    await until(() => {
      if (failed || child.exitCode !== null) throw failed ?? new Error('redis-server ended');
      return new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
        socket.once('data', (bytes) => resolve(bytes.includes('PONG')));
        socket.once('error', () => resolve(false));
        socket.once('close', () => resolve(false));
        socket.once('data', () => socket.destroy());
      });
    }, 'Redis answers', 10_000);
    return redis;
  }

  async close() {
    if (this.#process.exitCode === null) {
      const gone = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await gone;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
