export { HubbubClient } from './client.js';
export { HubbubError } from './errors.js';
export type { ClientCode, ErrorCode, HubCode } from './errors.js';
export type { TypingNotifier } from './typing.js';
export type * from './types.js';
export { newKey } from './util.js';
