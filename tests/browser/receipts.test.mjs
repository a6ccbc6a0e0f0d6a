// The chat page shows how far a message has come: sent, delivered, read.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { clientOf } from '../client/support.mjs';
import { Hub, Person, launch, violations } from './support.mjs';

describe('receipts on the chat page', () => {
  let hub, browser, ada, bo;

  before(async () => {
    hub = await Hub.start({ HUBBUB__RECEIPTS__VOCABULARIES: 'hubbub', HUBBUB__RECEIPTS__INTERVAL_MS: '20' });
    browser = await launch();
    ada = await Person.enter(browser, hub, 'Ada');
  });
  after(async () => {
    bo?.close();
    await browser?.close();
    await hub?.close();
  });

  const mark = () => ada.page.locator('.receipt');

  it('tells sent from delivered, and delivered from read', async () => {
    await ada.say('Is anybody here?');
    await mark().filter({ hasText: 'Sent' }).waitFor();
    // A client that gets what comes, and whose user does not look.
    bo = clientOf(hub.origin, 'Bo').client.connect();
    const { offset } = await bo.join('lobby');
    await mark().filter({ hasText: 'Sent' }).waitFor();
    await ada.say('Bo?');
    await mark().filter({ hasText: 'Delivered to Bo' }).waitFor();
    assert.deepEqual(await violations(ada.page), []);
    bo.read('lobby', offset + 1);
    await mark().filter({ hasText: 'Read by Bo' }).waitFor();
    assert.equal(await mark().count(), 1, 'at the newest own message only');
  });

  it('still knows it after the page was loaded anew', async () => {
    await ada.say('And this one?');
    await mark().filter({ hasText: 'Delivered to Bo' }).waitFor();
    await ada.page.reload();
    await ada.entered();
    await ada.sees('And this one?');
    await mark().filter({ hasText: 'Delivered to Bo' }).waitFor();
    assert.deepEqual(ada.errors, []);
  });
});
