// A hub that restarts in good order, and a network that goes away: nothing is lost, nothing comes twice.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, Person, launch } from './support.mjs';

const numbered = (word, count) => Array.from({ length: count }, (_, i) => `${word} ${i}.`);

describe('a hub that is told to stop', () => {
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

  it('ends in good order while two people chat, who are told calmly', async () => {
    await ada.say('before the restart');
    await bo.sees('before the restart');
    // Both go on writing through the whole drain.
    const talk = Promise.all([
      (async () => { for (const line of numbered('ada', 15)) await ada.say(line); })(),
      (async () => { for (const line of numbered('bo', 15)) await bo.say(line); })(),
    ]);
    await bo.sees('ada 2.');
    const code = await hub.drain();
    await talk;
    assert.equal(code, 0);
    for (const { page } of [ada, bo]) {
      await page.locator('#banner.busy').getByText('The hub is restarting.').waitFor();
      assert.equal(await page.locator('#banner').isVisible(), true);
      assert.equal(await page.locator('.toast').count(), 0, 'no alarm');
      assert.equal(await page.locator('.failed').count(), 0, 'nothing is given up');
      assert.equal(await page.locator('#text').isEditable(), true);
    }
  });

  it('is found again on its port: every message once, in one order for both', async () => {
    await hub.start();
    for (const person of [ada, bo]) {
      await person.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor({ timeout: 30_000 });
      for (const last of ['ada 14.', 'bo 14.']) await person.sees(last);
      await person.page.locator('#banner').waitFor({ state: 'hidden' });
      assert.equal(await person.page.locator('.pending, .failed').count(), 0);
      const texts = await person.texts();
      assert.equal(texts[0], 'before the restart');
      assert.deepEqual(texts.filter((text) => text.startsWith('ada')), numbered('ada', 15));
      assert.deepEqual(texts.filter((text) => text.startsWith('bo')), numbered('bo', 15));
      assert.equal(texts.length, 31, 'each message once');
      assert.deepEqual(person.errors, []);
    }
    assert.deepEqual(await ada.texts(), await bo.texts());
    const late = await Person.enter(browser, hub, 'Cy');
    await late.sees('bo 14.');
    assert.deepEqual(await late.texts(), await ada.texts(), 'as the hub has stored it');
    await late.leave();
  });
});

describe('a network that goes away', () => {
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

  it('lets ten messages wait, which then arrive once and in order', async () => {
    const lines = numbered('on the train', 10);
    await ada.context.setOffline(true);
    // The first go out before the page can know, the others into its queue.
    for (const line of lines.slice(0, 4)) await ada.say(line);
    await ada.page.locator('#banner.busy').getByText('You are offline.').waitFor();
    for (const line of lines.slice(4)) await ada.say(line);
    await ada.page.locator('.pending').nth(9).waitFor();
    await ada.page.getByText('Waiting for the connection').waitFor();
    await bo.say('meanwhile');
    await bo.sees('meanwhile');
    assert.deepEqual((await bo.texts()).filter((text) => text.startsWith('on the train')), []);

    await ada.context.setOffline(false);
    for (const person of [ada, bo]) {
      await person.sees('on the train 9.');
      await person.sees('meanwhile');
      await person.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor();
      const texts = await person.texts();
      assert.deepEqual(texts.filter((text) => text.startsWith('on the train')), lines);
      assert.equal(texts.length, 11, 'each message once');
    }
    await ada.page.locator('.pending').waitFor({ state: 'detached' });
    assert.deepEqual(await ada.texts(), await bo.texts(), 'the same order for everyone');
    assert.deepEqual(ada.errors, []);
  });
});
