// The operations page against a real hub: figures that move, users sent away, a message followed, a drain.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, Person, launch, violations } from './support.mjs';

const KEY = 'the key of the browser tests';

/** Opens the page and enters with the key. */
async function enter(browser, hub, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const errors = [];
  const requests = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => /content security policy/i.test(message.text()) && errors.push(message.text()));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(`${hub.origin}/ops`);
  await page.getByLabel('API key').fill(KEY);
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByRole('heading', { name: 'Connections' }).waitFor();
  return { context, page, errors, requests };
}

const tile = (page, name) => page.locator('.tile', { has: page.getByText(name, { exact: true }) }).locator('dd');

/** Waits until a locator's text is as wanted. */
async function reads(locator, wanted) {
  let text;
  for (const end = Date.now() + 10_000; Date.now() < end; ) {
    text = await locator.textContent();
    if (wanted.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`"${text}" is not ${wanted}`);
}

describe('the operations page', () => {
  let hub, browser, ada, bo, ops;

  before(async () => {
    hub = await Hub.start({ HUBBUB__AUTH__API_KEY: KEY, HUBBUB__RECEIPTS__VOCABULARIES: 'hubbub' });
    browser = await launch();
    ada = await Person.enter(browser, hub, 'Ada');
    bo = await Person.enter(browser, hub, 'Bo');
    ops = await enter(browser, hub);
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  const open = (name) => ops.page.getByRole('link', { name, exact: true }).click();

  it('lets nobody in without the key, and keeps it for this window alone', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${hub.origin}/ops`);
    await page.getByLabel('API key').fill('a wrong key');
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.getByText('The API key is wrong.').waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByLabel('API key').fill(KEY);
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.getByRole('heading', { name: 'Connections' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Connections' }).waitFor();
    assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
    await page.getByRole('button', { name: 'Forget the key' }).click();
    await page.getByLabel('API key').waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await context.close();
  });

  it('shows figures that move', async () => {
    await reads(tile(ops.page, 'Connections'), /^2$/);
    await reads(tile(ops.page, 'Users'), /^2$/);
    let talking = true;
    const talk = (async () => {
      for (let i = 0; talking; i++) {
        await ada.say(`talk ${i}.`);
        await ada.sees(`talk ${i}.`);
      }
    })();
    await reads(tile(ops.page, 'Publishes'), /^(?!0\/s).*\/s$/);
    await reads(tile(ops.page, 'Deliveries'), /^(?!0\/s).*\/s$/);
    const chart = (title) => ops.page.locator('.chart', { has: ops.page.getByRole('heading', { name: title, exact: true }) });
    await reads(chart('Time to acknowledge').locator('li').nth(1), /p99 [\d.]+ (µs|ms|s)/);
    await reads(chart('Time to deliver').locator('li').nth(0), /p50 [\d.]+ (µs|ms|s)/);
    talking = false;
    await talk;
    assert.equal(await ops.page.locator('.chart canvas').count(), 12);
    assert.equal(await chart('Dropped, by reason').locator('li').textContent(), 'Nothing was dropped');
  });

  it('lists rooms and follows a message to everybody', async () => {
    await ada.say('Who has this one?');
    await bo.sees('Who has this one?');
    await open('Rooms');
    await ops.page.getByRole('row', { name: /lobby/ }).getByRole('button', { name: /Follow/ }).click();
    await ops.page.getByText('Who has this one?').waitFor();
    await ops.page.getByText('2 of 2 sessions').waitFor();
    assert.equal(await ops.page.locator('tbody').getByText('written to the socket').count(), 2);
    await ops.page.locator('dd').filter({ hasText: /^read by guest-/ }).waitFor();
    const bos = await ops.page.getByLabel('Why did this user not get it');
    await bos.fill('nobody-knows');
    await ops.page.getByRole('button', { name: 'Follow', exact: true }).click();
    await ops.page.getByText('nobody-knows has no session').waitFor();
  });

  it('shows sessions, and closes one', async () => {
    await open('Sessions');
    const row = ops.page.getByRole('row', { name: /Bo/ });
    await row.getByText('json').waitFor();
    assert.equal(await ops.page.locator('tbody tr').count(), 2);
    await row.getByRole('button', { name: /Close/ }).click();
    await ops.page.getByRole('dialog').waitFor();
    assert.deepEqual(await violations(ops.page), []);
    await ops.page.keyboard.press('Escape');
    await ops.page.getByRole('dialog').waitFor({ state: 'detached' });
    await row.getByRole('button', { name: /Close/ }).click();
    await ops.page.getByRole('button', { name: 'Close it' }).click();
    await bo.page.locator('#banner.bad').getByText('You are signed out').waitFor();
    await row.waitFor({ state: 'detached' });
    await bo.page.getByRole('button', { name: 'Connect again' }).click();
    await bo.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor();
  });

  it('looks a user up, and keeps the user away', async () => {
    await open('Sessions');
    await ops.page.getByRole('button', { name: 'Bo', exact: true }).click();
    await ops.page.getByText('lobby', { exact: true }).waitFor();
    await ops.page.getByLabel('Keep away for').selectOption('5 minutes');
    await ops.page.getByRole('button', { name: 'Disconnect and ban' }).click();
    await ops.page.getByRole('dialog').getByRole('button', { name: 'Disconnect and ban' }).click();
    await ops.page.getByText(/1 session was closed\. .* cannot come back for 5 minutes\./).waitFor();
    await ops.page.getByText('has no session').waitFor();
    await bo.page.getByRole('button', { name: 'Connect again' }).click();
    await bo.page.locator('#banner.bad').waitFor();
    assert.equal(await bo.page.locator('#room-subtitle').textContent(), 'Signed out');
  });

  for (const colorScheme of ['light', 'dark']) {
    it(`has no accessibility violations and fits a phone: ${colorScheme}`, async () => {
      const own = await enter(browser, hub, { colorScheme });
      for (const name of ['Overview', 'Rooms', 'Sessions', 'Users', 'Follow a message']) {
        await own.page.getByRole('link', { name, exact: true }).click();
        await own.page.locator('main h2, main h3').first().waitFor();
        assert.deepEqual(await violations(own.page), [], name);
      }
      await own.page.setViewportSize({ width: 360, height: 640 });
      for (const name of ['Overview', 'Sessions', 'Follow a message']) {
        await own.page.getByRole('link', { name, exact: true }).click();
        const over = await own.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(over, 0, name);
      }
      assert.deepEqual(own.errors, []);
      await own.context.close();
    });
  }

  it('asked nobody but the hub', () => {
    const { host } = new URL(hub.origin);
    assert.deepEqual(ops.errors, []);
    assert.deepEqual(ops.requests.filter((url) => !url.startsWith('data:') && new URL(url).host !== host), []);
    assert.ok(!ops.requests.some((url) => url.includes(encodeURIComponent(KEY))), 'the key stays out of addresses');
  });

  it('drains the node, after a question', async () => {
    await open('Overview');
    await ops.page.getByRole('button', { name: /^Drain/ }).click();
    await ops.page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await ada.page.locator('#banner.busy').getByText('The hub is restarting.').waitFor();
    assert.equal(await hub.ended(), 0);
  });
});
