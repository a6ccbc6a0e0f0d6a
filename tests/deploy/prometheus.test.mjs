// A real Prometheus scrapes real hubs with deploy/prometheus/prometheus.yml; every query of the dashboard
// and every alert rule is asked there.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Hub, JsonMember, connected, until } from '../socketio/support.mjs';
import { WebSocket } from 'ws';
import { freePort } from '../node/port.mjs';
import { Redis } from '../node/redis.mjs';

// Node 20 has none of its own.
globalThis.WebSocket ??= WebSocket;

const DEPLOY = join(import.meta.dirname, '../../deploy');
const DOCS = join(import.meta.dirname, '../../docs');
const read = (...path) => readFileSync(join(...path), 'utf8');
const board = JSON.parse(read(DEPLOY, 'grafana/dashboards/hubbub.json'));
const panels = board.panels.filter((panel) => panel.type !== 'row');
const metricsPage = read(DOCS, 'metrics.md');

// Empty as long as nothing bad happens: filtered by `> 0`.
const MAY_BE_EMPTY = />\s*0$/;

let hubs = [];
let redis;
let backend;
let dir;
let prometheus;
let origin;

before(async () => {
  redis = await Redis.start();
  backend = createServer((request, response) => request.resume().on('end', () => response.writeHead(204).end()));
  await once(backend.listen(0, '127.0.0.1'), 'listening');
  const settings = {
    HISTORY__STORE: 'redis',
    CLUSTER__REDIS_URL: redis.url,
    WEBHOOKS__URL: `http://127.0.0.1:${backend.address().port}/`,
    WEBHOOKS__SECRET: 'a secret of thirty-two bytes ...',
    WEBHOOKS__EVENTS: '*',
  };
  hubs = await Promise.all(['n1', 'n2'].map((id) => Hub.start({ NODE__ID: id, ...settings })));
  dir = mkdtempSync(join(tmpdir(), 'hubbub-prometheus-'));
  // As shipped, but with our nodes and without a quarter of a minute between scrapes.
  const nodes = hubs.map((hub) => `          - ${new URL(hub.origin).host}`).join('\n');
  const config = read(DEPLOY, 'prometheus/prometheus.yml')
    .replace(/^ +- hub1:8080\n +- hub2:8080\n +- hub3:8080$/m, nodes)
    .replaceAll('interval: 15s', 'interval: 1s');
  for (const hub of hubs) assert.ok(config.includes(new URL(hub.origin).host), config);
  writeFileSync(join(dir, 'prometheus.yml'), config);
  writeFileSync(join(dir, 'hubbub.rules.yml'), read(DEPLOY, 'prometheus/hubbub.rules.yml'));
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  prometheus = spawn('prometheus', [
    '--config.file=prometheus.yml', '--storage.tsdb.path=data', `--web.listen-address=127.0.0.1:${port}`,
  ], { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  prometheus.stderr.on('data', (bytes) => (said += bytes));
  process.once('exit', () => prometheus.kill('SIGKILL'));
  let failed;
  prometheus.once('error', (error) => (failed = error));
  await until(async () => {
    if (failed || prometheus.exitCode !== null) throw failed ?? new Error(said);
    return (await fetch(`${origin}/-/ready`).catch(() => undefined))?.ok;
  }, 'Prometheus is ready', 20_000);
  await until(async () => (await ask('sum(up{job="hubbub"})'))[0]?.value[1] === '2', 'both are scraped', 20_000);
});

after(async () => {
  if (prometheus?.exitCode === null) {
    const gone = once(prometheus, 'exit');
    prometheus.kill('SIGTERM');
    await gone;
  }
  await Promise.all(hubs.map((hub) => hub.close()));
  await redis?.close();
  backend?.close();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

async function ask(query) {
  const answer = await fetch(`${origin}/api/v1/query?${new URLSearchParams({ query })}`);
  const { status, data, error } = await answer.json();
  assert.equal(status, 'success', `${query}: ${error}`);
  return data.result;
}

/** As Grafana fills it in. */
const filled = (expr) => expr.replaceAll('$__rate_interval', '10s').replaceAll('$instance', '.*');

/** Talks for as long as `done` is not. */
async function traffic(done) {
  const member = await JsonMember.enter(hubs[0], 'ann', 'r');
  const socket = await connected(hubs[1], { user: 'bob', transports: ['websocket'] });
  await socket.timeout(5000).emitWithAck('join', { roomId: 'r' });
  try {
    while (!(await done())) {
      member.send({ type: 'message', roomId: 'r', content: 'x' });
      member.send({ type: 'typing', roomId: 'r', isTyping: true });
      await socket.timeout(5000).emitWithAck('message', { roomId: 'r', content: 'y' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    member.close();
    socket.close();
  }
}

test('every query of the dashboard has an answer', async () => {
  const queries = panels.flatMap((panel) => panel.targets.map((t) => [panel.title, t.expr]));
  assert.ok(queries.length > 40, `${queries.length} queries`);
  let empty;
  const deadline = Date.now() + 30_000;
  await traffic(async () => {
    empty = [];
    for (const [title, expr] of queries) {
      const result = await ask(filled(expr));
      const number = result.length > 0 && result.every(({ value }) => value[1] !== 'NaN');
      // Nobody asks a webhook here, nothing is archived, and a cluster has no embedded store.
      const quiet = MAY_BE_EMPTY.test(expr) || /hubbub_archive_|hubbub_(webhook|store)_\w+_(bucket|sum)/.test(expr);
      if (!number && !quiet) empty.push(`${title}: ${expr}`);
    }
    return empty.length === 0 || Date.now() > deadline;
  });
  assert.deepEqual(empty, []);
});

test('the dashboard and the rules name documented metrics only, and miss none of note', () => {
  const rules = read(DEPLOY, 'prometheus/hubbub.rules.yml');
  const documented = new Set([...metricsPage.matchAll(/^\| `((?:hubbub|process)_\w+)`/gm)].map((m) => m[1]));
  const base = (name) => (documented.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''));
  const shown = panels.flatMap((panel) => panel.targets.map((target) => target.expr)).join('\n');
  const names = (text) => new Set([...text.matchAll(/\b(?:hubbub|process)_\w+/g)].map((m) => base(m[0])));
  for (const name of names(shown + rules.replace(/runbook_url.*/g, ''))) {
    assert.ok(documented.has(name), `${name} is not in docs/metrics.md`);
  }
  const inBoard = names(shown);
  const missing = [...documented].filter((name) => name.startsWith('hubbub_') && !inBoard.has(name));
  assert.deepEqual(missing, [], 'no panel shows them');
});

test('the dashboard is one that Grafana takes', () => {
  const ids = board.panels.map((panel) => panel.id);
  assert.equal(new Set(ids).size, ids.length, 'panel ids are unique');
  const places = new Set();
  for (const { title, gridPos } of board.panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!places.has(`${x},${y}`), `${title} lies on another panel`);
        places.add(`${x},${y}`);
      }
    }
  }
  const names = new Set(board.templating.list.map((variable) => variable.name));
  assert.deepEqual([...names], ['datasource', 'instance']);
  for (const panel of panels) {
    assert.equal(panel.datasource.uid, '${datasource}', panel.title);
    for (const { expr } of panel.targets) {
      for (const [, name] of expr.matchAll(/\$(\w+)/g)) {
        assert.ok(name === '__rate_interval' || names.has(name), `${panel.title}: $${name}`);
      }
    }
  }
  // The data source that compose provisions, and where it looks for dashboards.
  const sources = read(DEPLOY, 'grafana/provisioning/datasources/prometheus.yml');
  assert.match(sources, /type: prometheus/);
  const compose = read(DEPLOY, 'compose/compose.yaml');
  const [, path] = read(DEPLOY, 'grafana/provisioning/dashboards/hubbub.yml').match(/path: (\S+)/);
  assert.ok(compose.includes(`../grafana/dashboards:${path}:ro`), path);
});

test('every alert rule is evaluated without an error and is quiet on a healthy hub', async () => {
  const rules = await until(async () => {
    const { data } = await (await fetch(`${origin}/api/v1/rules?type=alert`)).json();
    const all = data.groups.flatMap((group) => group.rules);
    return all.length > 0 && all.every((rule) => rule.health !== 'unknown') && all;
  }, 'all rules were evaluated', 30_000);
  assert.deepEqual(rules.filter((rule) => rule.health !== 'ok'), []);
  assert.deepEqual(rules.filter((rule) => rule.state !== 'inactive').map((rule) => rule.name), []);
});

test('every alert has a runbook that is there', () => {
  const rules = read(DEPLOY, 'prometheus/hubbub.rules.yml');
  const operations = read(DOCS, 'operations.md');
  const alerts = [...rules.matchAll(/- alert: (\w+)[\s\S]*?runbook_url: (\S+)/g)];
  assert.ok(alerts.length > 10);
  for (const [, name, url] of alerts) {
    assert.equal(url, `docs/operations.md#${name.toLowerCase()}`);
    assert.match(operations, new RegExp(`^### ${name}$`, 'm'), `no section ${name}`);
  }
  const sections = [...operations.matchAll(/^### (Hubbub\w+)$/gm)].map((m) => m[1]);
  assert.deepEqual(sections.filter((name) => !alerts.some((alert) => alert[1] === name)), []);
});

test('promtool passes the rules, their tests and the configuration', () => {
  const cwd = join(DEPLOY, 'prometheus');
  const promtool = (...args) => execFileSync('promtool', args, { cwd, encoding: 'utf8', stdio: 'pipe' });
  promtool('check', 'config', 'prometheus.yml');
  const said = promtool('test', 'rules', 'hubbub.rules.test.yml');
  assert.match(said, /SUCCESS/);
  // Each alert is made to fire in some test.
  const tests = read(cwd, 'hubbub.rules.test.yml');
  const rules = read(cwd, 'hubbub.rules.yml');
  for (const [, name] of rules.matchAll(/- alert: (\w+)/g)) {
    assert.match(tests, new RegExp(`alertname: ${name}\\n +exp_alerts:\\n +- exp_labels:`), `${name} never fires`);
  }
});

test('the metrics pass promtool', async () => {
  const text = await (await fetch(`${hubs[0].origin}/metrics`)).text();
  const said = execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  assert.equal(said.trim(), '');
});
