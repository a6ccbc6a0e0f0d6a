// A real hub and a real browser for the tests in this folder.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { HubProcess } from '../node/hub.mjs';

const BROWSER = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
/** A folder with the page's files, used in place of those in the hub: to work on the page without building the hub. */
const PAGE_DIR = process.env.PAGE_DIR;
const CLIENT = join(import.meta.dirname, '../../clients/js');
const { build } = createRequire(join(CLIENT, 'package.json'))('esbuild');

/** A hub process with its defaults. */
export class Hub extends HubProcess {
  /** `env` is added to the environment of the process. */
  static async start(env = {}) {
    const hub = new Hub(env);
    await hub.start();
    return hub;
  }
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Violations of accessibility in words: rule, the elements it is about, and why. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`).join(', ')}`);
}

const OPTIONS = {
  executablePath: BROWSER,
  headless: true,
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    // A page that did not come from the network may not call 127.0.0.1 otherwise.
    ...(PAGE_DIR ? ['--disable-features=LocalNetworkAccessChecks'] : []),
  ],
};

/** The distribution's Chromium, told to talk to nobody by itself. */
export async function launch() {
  return withPages(await chromium.launch(OPTIONS));
}

/** The same with the id of its main process, whose family may be stopped and woken. */
export async function launchApart() {
  const server = await chromium.launchServer(OPTIONS);
  const browser = withPages(await chromium.connect(server.wsEndpoint()));
  return { browser, pid: server.process().pid, close: () => server.close() };
}

/** The client library as a script that makes the global `hubbub`. */
export async function clientBundle() {
  const { outputFiles } = await build({
    entryPoints: [join(CLIENT, 'src/index.ts')],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'hubbub',
    target: 'es2022',
  });
  return `${outputFiles[0].text}; globalThis.hubbub = hubbub;`;
}

function withPages(browser) {
  if (PAGE_DIR) {
    const newContext = browser.newContext.bind(browser);
    browser.newContext = async (options) => {
      const context = await newContext(options);
      await context.route(/^[^?]*:\d+\/(ops|assets\/(chat|ops)\.(js|css))?(#.*)?$/, async (route) => {
        const file = new URL(route.request().url()).pathname.split('/').at(-1) || 'index.html';
        const name = file === 'ops' ? 'ops.html' : file;
        await route.fulfill({ response: await route.fetch(), body: readFileSync(join(PAGE_DIR, name)) });
      });
      return context;
    };
  }
  return browser;
}

/** One person at one window: an own browser context, a page, and what tests want to know of it. */
export class Person {
  /** Addresses of requests and WebSockets. */
  requests = [];
  /** Errors of scripts and of the content security policy. */
  errors = [];

  static async enter(browser, hub, name, { room = 'lobby', ...options } = {}) {
    const person = new Person();
    person.name = name;
    person.context = await browser.newContext({ locale: 'en-GB', ...options });
    const page = await person.context.newPage();
    person.page = page;
    page.setDefaultTimeout(10_000);
    page.on('request', (request) => person.requests.push(request.url()));
    page.on('websocket', (socket) => person.requests.push(socket.url()));
    page.on('pageerror', (error) => person.errors.push(String(error)));
    page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) person.errors.push(message.text());
    });
    await page.goto(`${hub.origin}/#${room}`);
    await page.getByLabel('Your name').fill(name);
    await page.getByRole('button', { name: 'Start chatting' }).click();
    await person.entered(room);
    return person;
  }

  /** Waits until the page is in the room: the hub answered the join. */
  async entered(room = 'lobby') {
    await this.page.getByRole('heading', { level: 1, name: `# ${room}` }).waitFor();
    await this.page.locator('#room-subtitle', { hasText: /here$/ }).waitFor();
  }

  async say(text) {
    const box = this.page.locator('#text');
    await box.fill(text);
    await box.press('Enter');
  }

  /** Waits for a message that is stored, not one that still waits. */
  async sees(text) {
    await this.page.locator('.message:not(.pending, .failed) .bubble', { hasText: text }).first().waitFor();
  }

  /** The texts of all stored messages on the page, in order. */
  texts() {
    return this.page.locator('.message:not(.pending, .failed) .bubble').allTextContents();
  }

  /** A person in the list beside the messages. */
  member(name) {
    return this.page.locator('#members li', { hasText: name });
  }

  /** The names in that list, sorted. */
  async members() {
    const names = await this.page.locator('#members strong').allTextContents();
    return names.map((name) => name.replace(' (you)', '')).sort();
  }

  /** Goes away without a word, as when the window is killed. */
  async leave() {
    await this.context.close();
  }
}
