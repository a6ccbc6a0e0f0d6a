// Run by bun.test.mjs in Bun: talks, loses its hub, and sends on when it is back.
import { createInterface } from 'node:readline';
import { HubbubClient } from '../../clients/js/src/index.ts';

declare const Bun: { version: string };
const say = (fact: unknown) => console.log(JSON.stringify(fact));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

let token: string | Promise<string> = process.env.TOKEN ?? '';
const client = new HubbubClient({ url: process.env.HUB ?? '', token: async () => token });
const heard: string[] = [];
const came = (count: number) =>
  new Promise<void>((resolve) => {
    const look = () => heard.length >= count && resolve();
    client.on('message', look);
    look();
  });
client.on('message', ({ content }) => void heard.push(content));

say({ bun: Bun.version });
await client.connect().join('engine-room');
const { offset } = await client.send('engine-room', 'from Bun');
await came(1);
say({ heard: heard[0], offset });

await lines.next();
const lost = new Promise<void>((resolve) => {
  const look = () => client.state.status !== 'connected' && resolve();
  client.on('state', look);
  look();
});
await lost;
token = lines.next().then(({ value }) => String(value));
const sends = Array.from({ length: 10 }, (_, i) => client.send('engine-room', `away ${i}`));
say({ waiting: sends.length });
const acks = (await Promise.all(sends)).map(({ offset }) => offset);
await came(11);
say({ acks, heard });
client.close();
process.exit(0);
