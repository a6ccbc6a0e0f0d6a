// Two people talk: messages, who is there, who types, and what is left when one goes and comes back.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, Person, launch } from './support.mjs';

describe('two people', () => {
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

  it('see each other in the list of people', async () => {
    await ada.member('Bo').getByText('Online').waitFor();
    assert.deepEqual(await ada.members(), ['Ada', 'Bo']);
    assert.deepEqual(await bo.members(), ['Ada', 'Bo']);
    await ada.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor();
  });

  it('read what the other writes, in order, and their own', async () => {
    await ada.say('Good morning!');
    await bo.sees('Good morning!');
    await bo.say('Hello Ada');
    await ada.sees('Hello Ada');
    await ada.say('<b>not bold</b> & "plain"');
    await bo.sees('<b>not bold</b>');
    const expected = ['Good morning!', 'Hello Ada', '<b>not bold</b> & "plain"'];
    assert.deepEqual(await ada.texts(), expected);
    assert.deepEqual(await bo.texts(), expected);
    assert.equal(await bo.page.locator('.message .head strong').first().textContent(), 'Ada');
  });

  it('see who types, until they stop or send', async () => {
    const line = ada.page.locator('#typing');
    await bo.page.locator('#text').pressSequentially('I thi');
    await line.getByText('Bo is typing').waitFor();
    assert.equal(await bo.page.locator('#typing').textContent(), '', 'nobody is told of their own typing');
    await bo.page.locator('#text').fill('');
    await ada.page.waitForFunction(() => document.getElementById('typing').textContent === '');
    await bo.page.locator('#text').pressSequentially('I think so');
    await line.getByText('Bo is typing').waitFor();
    await bo.page.locator('#text').press('Enter');
    await ada.sees('I think so');
    await ada.page.waitForFunction(() => document.getElementById('typing').textContent === '');
  });

  it('are told how far their words have come', async () => {
    await ada.say('Did you see this?');
    await ada.page.locator('.receipt', { hasText: 'Read by Bo' }).waitFor();
    assert.equal(await ada.page.locator('.receipt').count(), 1, 'at the newest own message only');
    await bo.page.locator('.receipt', { hasText: 'Read by Ada' }).waitFor();
  });

  it('write to each other alone', async () => {
    await ada.member('Bo').getByRole('button').click();
    await ada.page.getByRole('heading', { level: 1, name: 'Bo' }).waitFor();
    await ada.say('Between you and me');
    await ada.sees('Between you and me');
    const talk = bo.page.locator('#directs').getByRole('link', { name: /Ada/ });
    await talk.getByText('1 unread').waitFor();
    await bo.page.waitForFunction(() => document.title.startsWith('(1)'));
    assert.ok(!(await bo.texts()).includes('Between you and me'), 'not in the room');
    await talk.click();
    await bo.sees('Between you and me');
    await bo.say('I keep it');
    await ada.sees('I keep it');
    assert.deepEqual(await ada.texts(), ['Between you and me', 'I keep it']);
    assert.equal(await bo.page.locator('#directs .badge').count(), 0);
    await bo.page.reload();
    await bo.sees('I keep it');
    assert.deepEqual(await bo.texts(), ['Between you and me', 'I keep it']);
    for (const person of [ada, bo]) {
      await person.page.getByRole('link', { name: 'lobby' }).click();
      await person.entered();
    }
    await bo.sees('Did you see this?');
  });

  it('use several rooms, with marks for what is unread', async () => {
    for (const person of [ada, bo]) {
      await person.page.locator('#join-name').fill('garden');
      await person.page.locator('#join-name').press('Enter');
      await person.entered('garden');
    }
    assert.match(ada.page.url(), /#garden$/);
    await ada.page.getByRole('link', { name: 'lobby' }).click();
    await bo.say('The tomatoes are ripe');
    const garden = ada.page.getByRole('link', { name: /garden/ });
    await garden.getByText('1 unread').waitFor();
    await ada.page.waitForFunction(() => document.title.startsWith('(1)'));
    assert.ok(!(await ada.texts()).includes('The tomatoes are ripe'));
    await garden.click();
    await ada.sees('The tomatoes are ripe');
    await ada.page.locator('.mark-new').waitFor();
    assert.equal(await garden.locator('.badge').count(), 0);
    for (const person of [ada, bo]) await person.page.getByRole('link', { name: 'lobby' }).click();
  });

  it('leave a room for good', async () => {
    await bo.page.getByRole('link', { name: /garden/ }).hover();
    await bo.page.getByRole('button', { name: 'Leave garden' }).click();
    await bo.page.getByRole('link', { name: /garden/ }).waitFor({ state: 'detached' });
    await ada.page.getByRole('link', { name: /garden/ }).click();
    await ada.page.locator('#room-subtitle', { hasText: 'Only you are here' }).waitFor();
    await ada.page.getByRole('link', { name: 'lobby' }).click();
    await bo.page.reload();
    await bo.entered();
    assert.equal(await bo.page.getByRole('link', { name: /garden/ }).count(), 0);
  });

  it('notice when one is killed, who comes back to the whole conversation', async () => {
    const before = await bo.texts();
    await bo.leave();
    const gone = Date.now();
    await ada.member('Bo').waitFor({ state: 'detached', timeout: 5_000 });
    assert.ok(Date.now() - gone < 5_000);
    await ada.say('Where did you go?');
    await ada.sees('Where did you go?');
    bo = await Person.enter(browser, hub, 'Bo');
    await bo.sees('Where did you go?');
    assert.deepEqual(await bo.texts(), [...before, 'Where did you go?']);
    await ada.member('Bo').waitFor();
  });

  it('scroll up to what was said long ago', async () => {
    const reader = await Person.enter(browser, hub, 'Cy', { room: 'archive' });
    for (let i = 1; i <= 90; i++) {
      await reader.say(`line ${i}.`);
      // One after the other: nobody writes faster than the hub lets a session.
      await reader.sees(`line ${i}.`);
    }
    await reader.leave();
    const late = await Person.enter(browser, hub, 'Di', { room: 'archive' });
    await late.sees('line 90.');
    await late.page.waitForFunction(() => {
      const log = document.getElementById('log');
      log.scrollTop = 0;
      return document.querySelector('.start') !== null;
    }, undefined, { polling: 200 });
    const expected = Array.from({ length: 90 }, (_, i) => `line ${i + 1}.`);
    assert.deepEqual(await late.texts(), expected);
    await late.leave();
  });

  it('ran into no error and asked nobody but the hub', () => {
    for (const person of [ada, bo]) {
      assert.deepEqual(person.errors, []);
      const { host } = new URL(hub.origin);
      const foreign = person.requests.filter((url) => !url.startsWith('data:') && new URL(url).host !== host);
      assert.deepEqual(foreign, []);
      assert.ok(person.requests.some((url) => url.startsWith('ws:')));
      assert.ok(!person.requests.some((url) => url.includes('token=')), 'the token stays out of addresses');
    }
  });
});
