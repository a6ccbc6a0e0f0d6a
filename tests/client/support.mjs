// The client library in Node, and a network between it and the hubs that can be pointed elsewhere.
import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import WebSocket from 'ws';
import { clientBundle } from '../browser/support.mjs';

const { HubbubClient } = new Function(`${await clientBundle()}; return hubbub;`)();

/** What clients connect to; `to` is the hub behind it. */
export class Network {
  #server = createServer((socket) => this.#carry(socket));
  #sockets = new Set();
  to;

  static async start(hub) {
    const network = new Network();
    network.to = hub;
    await once(network.#server.listen(0, '127.0.0.1'), 'listening');
    network.origin = `http://127.0.0.1:${network.#server.address().port}`;
    return network;
  }

  #carry(socket) {
    const { hostname, port } = new URL(this.to.origin);
    const onward = connect(Number(port), hostname);
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      this.#sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }

  /** Every connection breaks; the next ones go to `hub`. */
  point(hub) {
    this.to = hub;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** A client of a user; `sent` has the frames it sent, with the number of the connection. */
export function clientOf(origin, sub, options = {}) {
  const sent = [];
  let connections = 0;
  class Recorded extends WebSocket {
    constructor(...args) {
      super(...args);
      this.connection = ++connections;
    }

    send(text) {
      sent.push({ connection: this.connection, ...JSON.parse(text) });
      super.send(text);
    }
  }
  const token = async () => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${origin}/dev/token`, { method: 'POST', headers, body: JSON.stringify({ sub, name: sub }) });
    return (await answer.json()).token;
  };
  const backoff = { baseMs: 20, capMs: 200 };
  const client = new HubbubClient({ url: origin, token, WebSocket: Recorded, backoff, ...options });
  return { client, sent };
}

/** The same, in rooms, with what it hears of each in order. */
export async function listener(origin, sub, rooms) {
  const { client, sent } = clientOf(origin, sub);
  const heard = Object.fromEntries(rooms.map((room) => [room, []]));
  const resets = [];
  client.on('message', ({ roomId, content, offset }) => heard[roomId].push([offset, content]));
  client.connect();
  await Promise.all(rooms.map((room) => client.join(room)));
  client.on('joined', ({ roomId, recovered }) => recovered || resets.push(roomId));
  return { client, sent, heard, resets };
}
