export type { DirectMessage, DirectStart, DirectState } from './direct-store.js';
export {
  useConnection,
  useDirect,
  useDirects,
  useHubbubEvent,
  usePresence,
  useReceipt,
  useRoom,
  useRoomState,
  useUnread,
  type DirectActions,
  type ReceiptState,
  type RoomActions,
} from './hooks.js';
export type { Outgoing } from './outgoing.js';
export type { UserPresence } from './presence-store.js';
export { HubbubProvider, useHubbub, type HubbubProviderProps } from './provider.js';
export type { RoomState } from './room-store.js';
