// Makes the pictures of the README in docs/images/: a conversation on a real hub, light, dark and on a phone.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Hub, Person, launch } from './support.mjs';

const out = process.argv[2] ?? join(import.meta.dirname, '../../docs/images');
mkdirSync(out, { recursive: true });

const desk = { viewport: { width: 1180, height: 780 }, deviceScaleFactor: 2, reducedMotion: 'reduce' };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, reducedMotion: 'reduce' };

const TALK = [
  ['Mira', 'Morning! Who is coming to the harbour on Saturday?'],
  ['Jonas', 'Me, if the ferry runs.'],
  ['Jonas', 'The timetable says 9:40 and 11:10.'],
  ['Aiko', 'Let us take the early one. I bring coffee for everybody, and the map of the old town that I found last week.'],
  ['Mira', 'Perfect.'],
  ['Mira', 'I put the meeting point into #trips, so that nobody has to scroll.'],
  ['Jonas', 'Found it. See you at the pier!'],
];

const KEY = 'the key of the pictures';
const hub = await Hub.start({ HUBBUB__AUTH__API_KEY: KEY, HUBBUB__NODE__ID: 'hub-1', HUBBUB__LIMITS__MESSAGES_PER_SECOND: '0' });
const browser = await launch();
try {
  const people = {};
  for (const name of ['Jonas', 'Aiko']) people[name] = await Person.enter(browser, hub, name);
  people.Mira = await Person.enter(browser, hub, 'Mira', { ...desk, colorScheme: 'light' });
  const { Mira, Jonas, Aiko } = people;

  for (const room of ['trips', 'music', 'coffee']) {
    for (const person of [Mira, Jonas]) {
      await person.page.locator('#join-name').fill(room);
      await person.page.locator('#join-name').press('Enter');
      await person.entered(room);
    }
  }
  for (const person of [Mira, Jonas]) {
    await person.page.getByRole('link', { name: 'lobby' }).click();
    await person.entered();
  }
  for (const [name, text] of TALK) {
    await people[name].say(text);
    await Mira.sees(text);
  }
  await Jonas.page.getByRole('link', { name: 'trips' }).click();
  await Jonas.say('Pier 3, under the clock');
  await Jonas.say('Rain or shine');
  await Jonas.page.getByRole('link', { name: 'coffee' }).click();
  await Jonas.say('Fresh pot!');
  await Mira.page.getByRole('link', { name: /coffee/ }).getByText('1 unread').waitFor();

  await Aiko.member('Mira').getByRole('button').click();
  await Aiko.say('Shall I bring the big thermos?');
  await Mira.page.locator('#directs').getByText('1 unread').waitFor();
  await Aiko.page.getByRole('link', { name: 'lobby' }).click();
  await Aiko.entered();

  // On the phone: someone who reads along.
  const Leila = await Person.enter(browser, hub, 'Leila', { ...phone, colorScheme: 'light' });
  await Leila.say('Count me in! Writing from the train.');
  await Mira.sees('Count me in');

  const typing = async (watcher) => {
    await Aiko.page.locator('#text').fill('');
    await Aiko.page.locator('#text').pressSequentially('See y');
    await watcher.page.getByText('Aiko is typing').waitFor();
  };
  await Mira.page.mouse.move(600, 300);
  await typing(Mira);
  await Mira.page.screenshot({ path: join(out, 'chat-light.png') });
  await Mira.page.emulateMedia({ colorScheme: 'dark' });
  await typing(Mira);
  await Mira.page.screenshot({ path: join(out, 'chat-dark.png') });
  await typing(Leila);
  await Leila.page.screenshot({ path: join(out, 'chat-phone.png') });

  // The operations page, while a small crowd talks for half a minute.
  const ops = await (await browser.newContext({ ...desk, viewport: { width: 1280, height: 900 }, colorScheme: 'light', locale: 'en-GB' })).newPage();
  await ops.goto(`${hub.origin}/ops`);
  await ops.getByLabel('API key').fill(KEY);
  await ops.getByRole('button', { name: 'Enter' }).click();
  await ops.getByRole('heading', { name: 'Connections' }).waitFor();
  const talk = crowd(Jonas.page, 24, 45_000);
  await ops.waitForTimeout(38_000);
  await ops.screenshot({ path: join(out, 'ops-light.png') });
  await ops.emulateMedia({ colorScheme: 'dark' });
  await ops.waitForTimeout(500);
  await ops.screenshot({ path: join(out, 'ops-dark.png') });
  await talk;
} finally {
  await browser.close();
  await hub.close();
}

/** Opens `count` plain connections from a page, which come and go and talk for so long. */
async function crowd(page, count, ms) {
  await page.evaluate(
    async ([members, forMs]) => {
      const until = Date.now() + forMs;
      const pause = (atMost) => new Promise((resolve) => setTimeout(resolve, Math.random() * atMost));
      const visit = async (name) => {
        const headers = { 'content-type': 'application/json' };
        const answer = await fetch('/dev/token', { method: 'POST', headers, body: JSON.stringify({ sub: name, name }) });
        const { token } = await answer.json();
        const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`, ['hubbub', token]);
        await new Promise((resolve) => (socket.onopen = resolve));
        const send = (frame) => socket.readyState === 1 && socket.send(JSON.stringify(frame));
        send({ type: 'join', roomId: 'market' });
        for (const end = Date.now() + 6_000 + Math.random() * forMs; Date.now() < Math.min(end, until); ) {
          await pause(700 + 500 * Math.sin(Date.now() / 4_000));
          send({ type: 'message', roomId: 'market', content: `${name} says hello` });
          if (Math.random() < 0.05) send({ type: 'read', roomId: 'nowhere', offset: 1, id: 1 });
        }
        socket.close();
      };
      await Promise.all(
        Array.from({ length: members }, async (_, i) => {
          await pause(8_000);
          while (Date.now() < until) await visit(`guest-${i}`);
        }),
      );
    },
    [count, ms],
  );
}
