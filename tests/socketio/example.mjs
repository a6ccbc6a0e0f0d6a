// The conformance example of this repository, one profile a process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../node/port.mjs';
import { until } from '../node/until.mjs';

const EXAMPLE =
  process.env.CONFORMANCE_BIN ??
  join(import.meta.dirname, '../../target/debug/examples/conformance');

/** Starts a profile; `stop` ends it. */
export async function example(...profile) {
  const port = await freePort();
  const child = spawn(EXAMPLE, ['--listen', `127.0.0.1:${port}`, ...profile], { stdio: 'inherit' });
  const failed = new Promise((resolve, reject) => {
    child.once('error', (e) => reject(new Error(`${EXAMPLE}: ${e.message}; cargo build --example conformance`)));
    child.once('exit', (code) => reject(new Error(`${EXAMPLE} ended with ${code}`)));
  });
  failed.catch(() => {});
  const reap = () => child.kill('SIGKILL');
  process.once('exit', reap);
  const listens = () =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(socket.destroy()));
      socket.once('error', () => resolve(false));
    });
  await Promise.race([until(listens, 'the example listens', 10_000), failed]);
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    async stop() {
      process.off('exit', reap);
      if (child.exitCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
