// The hub dies under two open pages and comes back: nothing is lost, nothing comes twice.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, Person, launch } from './support.mjs';

describe('a hub that is killed', () => {
  let hub, browser, ada, bo;

  before(async () => {
    hub = await Hub.start();
    browser = await launch();
    ada = await Person.enter(browser, hub, 'Ada');
    bo = await Person.enter(browser, hub, 'Bo');
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  it('is missed in words, with a countdown and a way to hurry', async () => {
    await ada.say('before the fall');
    await bo.sees('before the fall');
    await hub.kill();
    for (const person of [ada, bo]) {
      await person.page.getByText(/^No connection/).waitFor();
      await person.page.getByRole('button', { name: 'Try now' }).waitFor();
    }
    await ada.page.getByText(/Next try in \d+ s/).waitFor({ timeout: 30_000 });
  });

  it('is found again by both pages, and what was written meanwhile arrives once and in order', async () => {
    const lines = Array.from({ length: 10 }, (_, i) => `written offline ${i}`);
    for (const line of lines) await ada.say(line);
    await ada.page.locator('.pending').nth(9).waitFor();
    await bo.say('and so did I');
    await hub.start();
    for (const person of [ada, bo]) {
      await person.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor({ timeout: 30_000 });
      await person.sees('written offline 9');
      await person.sees('and so did I');
      const texts = await person.texts();
      assert.equal(texts[0], 'before the fall');
      assert.deepEqual(texts.filter((text) => text.startsWith('written')), lines);
      assert.equal(texts.length, 12, 'each message once');
      assert.equal(await person.page.locator('.pending, .failed').count(), 0);
    }
    assert.deepEqual(await ada.texts(), await bo.texts(), 'the same order for everyone');
    await ada.say('after');
    await bo.sees('after');
  });

  it('can be hurried by hand', async () => {
    await hub.kill();
    const action = ada.page.getByRole('button', { name: 'Try now' });
    await action.waitFor();
    await hub.start();
    const { page } = ada;
    // Pressed while a pause is under way; the page may also have come back by itself.
    await page.waitForFunction(() => {
      const button = document.getElementById('banner-action');
      if (button && !button.disabled) button.click();
      return document.getElementById('room-subtitle').textContent.endsWith('here');
    }, undefined, { polling: 200, timeout: 10_000 });
    await ada.say('hurried');
    await ada.sees('hurried');
    assert.deepEqual(ada.errors, []);
  });
});
