import { useEffect, useState } from 'preact/compat';
import { useDirects, type DirectMessage } from '@hubbub/client/react';
import { read, write } from '../identity.js';

const DIRECTS = 'hubbub.directs';
/** Messages of a conversation that outlive a reload. */
const KEEP = 100;

interface Kept {
  userId: string;
  username?: string;
  earlier: DirectMessage[];
}

/**
 * Keeps conversations of this window over a reload: the hub has no history of them for clients. Gives
 * a function that forgets them.
 */
export function useKeptDirects(): () => void {
  const { directs, open } = useDirects();
  // Before anything below looks at them, which would begin them anew.
  const [restored] = useState(() => {
    for (const { userId, username, earlier } of kept()) open(userId, { username, earlier });
    return directs;
  });
  useEffect(() => {
    if (directs === restored) return;
    const now = directs.map(({ userId, username, messages }) => ({ userId, username, earlier: messages.slice(-KEEP) }));
    write(sessionStorage, DIRECTS, JSON.stringify(now));
  }, [directs, restored]);
  return () => sessionStorage.removeItem(DIRECTS);
}

function kept(): Kept[] {
  try {
    const all: unknown = JSON.parse(read(sessionStorage, DIRECTS) || '[]');
    return Array.isArray(all) ? all.filter((one): one is Kept => typeof one?.userId === 'string' && Array.isArray(one.earlier)) : [];
  } catch {
    return [];
  }
}
