// The page itself: fits a phone, is accessible in light and dark, works by keyboard alone.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, Person, launch, violations } from './support.mjs';

/** Colours are judged without anything half moved. */
const still = { reducedMotion: 'reduce' };
const PHONE = { viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

describe('the page', () => {
  let hub, browser;

  before(async () => {
    hub = await Hub.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  it('is served with a policy that allows the hub alone', async () => {
    const response = await fetch(hub.origin);
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https:|\*/);
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const [size, options] of [['desk', { viewport: { width: 1280, height: 800 } }], ['phone', PHONE]]) {
      it(`has no accessibility violations: ${colorScheme}, ${size}`, async () => {
        const context = await browser.newContext({ colorScheme, ...still, ...options });
        const entrance = await context.newPage();
        await entrance.goto(hub.origin);
        await entrance.getByLabel('Your name').waitFor();
        assert.deepEqual(await violations(entrance), []);
        await context.close();

        const name = `${colorScheme} ${size}`;
        const person = await Person.enter(browser, hub, name, { colorScheme, ...still, ...options });
        const other = await Person.enter(browser, hub, 'Other');
        await other.say(`hello ${name}, see https://example.org/a?b=c`);
        await person.sees(`hello ${name}`);
        await person.say('a word of my own');
        await person.sees('a word of my own');
        assert.deepEqual(await violations(person.page), []);
        if (size === 'desk') {
          await person.member('Other').getByRole('button').click();
          await person.say('to you alone');
          await person.sees('to you alone');
          assert.deepEqual(await violations(person.page), []);
          await person.page.getByRole('link', { name: 'lobby' }).click();
          await person.entered();
        }
        if (size === 'phone') {
          for (const [open, close] of [[/^Rooms/, 'Close the list of rooms'], [/^People in this room/, 'Close the list of people']]) {
            await person.page.getByRole('button', { name: open }).click();
            await person.page.getByRole('button', { name: close }).waitFor();
            assert.deepEqual(await violations(person.page), []);
            await person.page.keyboard.press('Escape');
          }
        }
        await other.leave();
        await person.leave();
      });
    }

    it(`has no accessibility violations without a hub: ${colorScheme}`, async () => {
      const own = await Hub.start();
      try {
        const person = await Person.enter(browser, own, 'Ada', { colorScheme, ...still });
        await own.kill();
        await person.page.getByText(/^No connection/).waitFor();
        await person.say('waits');
        await person.page.locator('.pending').waitFor();
        assert.deepEqual(await violations(person.page), []);
        await person.leave();
      } finally {
        await own.close();
      }
    });
  }

  it('fits a phone', async () => {
    const person = await Person.enter(browser, hub, 'Phone', { room: 'phone', ...PHONE });
    await person.say(`${'long'.repeat(60)} https://example.org/${'path/'.repeat(30)}`);
    await person.sees('longlong');
    assert.equal(await overflow(person.page), 0);
    await person.page.getByRole('button', { name: 'Rooms', exact: true }).tap();
    await person.page.getByRole('button', { name: 'Close the list of rooms' }).waitFor();
    assert.equal(await overflow(person.page), 0);
    await person.page.locator('#join-name').fill('a-room-with-a-rather-long-name-that-does-not-fit-anywhere');
    await person.page.locator('#join-name').press('Enter');
    await person.entered('a-room-with-a-rather-long-name-that-does-not-fit-anywhere');
    assert.equal(await overflow(person.page), 0);
    assert.deepEqual(person.errors, []);
    await person.leave();
  });

  it('can be used by keyboard alone', async () => {
    const person = await Person.enter(browser, hub, 'Keys', { room: 'keys' });
    const { page } = person;
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    assert.equal(await focused(), 'text', 'ready to write');
    await page.keyboard.type('first');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('second');
    await page.keyboard.press('Enter');
    await person.sees('first\nsecond');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), 'log', 'the messages can be scrolled with the keys');
    await page.locator('#join-name').focus();
    await page.keyboard.type('den');
    await page.keyboard.press('Enter');
    await person.entered('den');
    assert.equal(await focused(), 'text');
    await page.goBack();
    await person.entered('keys');
    await person.leave();
  });

  it('keeps user and rooms over a reload', async () => {
    const person = await Person.enter(browser, hub, 'Reload', { room: 'kept' });
    await person.page.reload();
    await person.entered('kept');
    assert.deepEqual(await person.members(), ['Reload']);
    await person.leave();
  });
});
