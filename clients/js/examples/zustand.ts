// A zustand store around the client, for applications that keep everything in one store.
import { useEffect } from 'react';
import { create } from 'zustand';
import { HubbubClient, type ConnectionState, type Message, type TokenSource } from '@hubbub/client';

interface Chat {
  client: HubbubClient | undefined;
  connection: ConnectionState;
  messages: Record<string, readonly Message[]>;
  connect(token: TokenSource, url?: string): void;
  disconnect(): void;
  open(roomId: string): () => void;
  send(roomId: string, content: string): Promise<unknown>;
}

const IDLE: ConnectionState = { status: 'closed', reason: 'not connected yet' };
const NONE: readonly Message[] = [];
const KEEP = 500;

export const useChat = create<Chat>((set, get) => ({
  client: undefined,
  connection: IDLE,
  messages: {},

  connect(token, url) {
    get().client?.close();
    const client = new HubbubClient({ token, url });
    client.on('state', (connection) => set({ connection }));
    client.on('joined', ({ roomId, recovered }) => {
      // The room starts over: its messages follow.
      if (!recovered) set(({ messages }) => ({ messages: { ...messages, [roomId]: [] } }));
    });
    client.on('message', (message) => {
      const { roomId } = message;
      set(({ messages }) => ({ messages: { ...messages, [roomId]: [...(messages[roomId] ?? []), message].slice(-KEEP) } }));
    });
    set({ client: client.connect(), messages: {} });
  },

  disconnect() {
    get().client?.close();
    set({ client: undefined, connection: IDLE, messages: {} });
  },

  open(roomId) {
    const { client } = get();
    client?.join(roomId).catch((error) => console.warn(`${roomId}: ${error.message}`));
    return () => void client?.leave(roomId).catch(() => {});
  },

  send: (roomId, content) => get().client?.send(roomId, content) ?? Promise.reject(new Error('not connected')),
}));

/** The messages of a room, which is joined while a component shows it. */
export function useMessages(roomId: string): readonly Message[] {
  const { client, open } = useChat();
  useEffect(() => open(roomId), [client, open, roomId]);
  return useChat(({ messages }) => messages[roomId] ?? NONE);
}
