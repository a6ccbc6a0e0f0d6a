// A redis-server of a test's own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './support.mjs';

/** Listens on a free port; keeps nothing on disk. */
export class Redis {
  static async start() {
    const redis = new Redis();
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    redis.port = probe.address().port;
    await new Promise((resolve) => probe.close(resolve));
    redis.dir = mkdtempSync(join(tmpdir(), 'hubbub-redis-'));
    const args = ['--port', redis.port, '--bind', '127.0.0.1', '--save', '', '--dir', redis.dir];
    redis.process = spawn('redis-server', args.map(String), { stdio: 'ignore' });
    await until(async () => {
      const socket = connect(redis.port, '127.0.0.1');
      const up = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false);
      socket.destroy();
      return up;
    }, 'redis listens');
    return redis;
  }

  async close() {
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
