// The distribution's nginx with the files of deploy/nginx as they are; only the nodes, the ports and
// the place of the logs are the test's own.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../node/port.mjs';
import { until } from '../node/until.mjs';

export const FILES = join(import.meta.dirname, '../../deploy/nginx');

export class Nginx {
  #process;
  #said = '';

  /** Starts it before these hubs; `tls` takes the variant with TLS, `change` spoils the files. */
  static async start(hubs, { tls = false, change } = {}) {
    const nginx = new Nginx();
    nginx.dir = mkdtempSync(join(tmpdir(), 'hubbub-nginx-'));
    nginx.port = await freePort();
    nginx.origin = `${tls ? 'https' : 'http'}://127.0.0.1:${nginx.port}`;
    cpSync(FILES, nginx.dir, { recursive: true });
    for (const name of change ? ['hubbub/http.conf', 'hubbub/locations.conf'] : []) {
      const path = join(nginx.dir, name);
      writeFileSync(path, change(readFileSync(path, 'utf8')));
    }
    const logs = `access_log ${nginx.dir}/access.log hubbub; error_log ${nginx.dir}/error.log crit;`;
    let site = `listen 127.0.0.1:${nginx.port} backlog=8192; server_name _; ${logs}`;
    if (tls) {
      const [key, crt] = [`${nginx.dir}/tls.key`, `${nginx.dir}/tls.crt`];
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'].concat(
        ['-keyout', key, '-out', crt, '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']),
      { stdio: 'ignore' });
      site = `listen 127.0.0.1:${nginx.port} ssl; server_name _; ${logs}`
        + ` ssl_certificate ${crt}; ssl_certificate_key ${key};`;
    }
    writeFileSync(join(nginx.dir, 'hubbub', tls ? 'site-tls.conf' : 'site.conf'), site);
    nginx.#nodes(hubs);
    writeFileSync(join(nginx.dir, 'nginx.conf'), [
      'daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;',
      'worker_rlimit_nofile 16384; events { worker_connections 8192; }',
      'http { access_log off;',
      ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((n) => `${n}_temp_path tmp_${n};`),
      `include ${tls ? 'hubbub-tls.conf' : 'hubbub.conf'}; }`,
    ].join('\n'));
    await nginx.#run();
    return nginx;
  }

  #nodes(hubs) {
    // How nodes are entered is taken from the shipped file.
    const shipped = readFileSync(join(FILES, 'hubbub/upstream.conf'), 'utf8');
    const [, options] = shipped.match(/^server hub1:8080 (.*;)$/m);
    const lines = hubs.map((hub) => `server ${new URL(hub.origin).host} ${options}`);
    writeFileSync(join(this.dir, 'hubbub/upstream.conf'), lines.join('\n'));
  }

  async #run() {
    const path = `${process.env.PATH}:/usr/sbin:/sbin`;
    const child = spawn('nginx', ['-p', this.dir, '-c', 'nginx.conf', '-e', 'stderr'], {
      env: { ...process.env, PATH: path },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    child.stderr.on('data', (bytes) => (this.#said += bytes));
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    let failed;
    child.once('error', (error) => (failed = error));
    await until(async () => {
      if (failed || child.exitCode !== null) throw failed ?? new Error(`nginx: ${this.#said}`);
      return fetch(this.origin.replace('https', 'http')).catch(() => undefined);
    }, 'nginx answers');
  }

  /** What went wrong, in nginx's own words. */
  get said() {
    return this.#said;
  }

  get accessLog() {
    return readFileSync(join(this.dir, 'access.log'), 'utf8');
  }

  async close() {
    const child = this.#process;
    if (child?.exitCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One request from an address of this machine: status, headers, text. */
export function request(origin, path, { from = '127.0.0.1', method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const options = { method, headers, localAddress: from, agent: false };
    const sent = http.request(origin + path, options, (answer) => {
      let text = '';
      answer.on('data', (piece) => (text += piece));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
