import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/compat';
import { useConnection, useDirect, usePresence } from '@hubbub/client/react';
import { Banner } from './banner.js';
import { Composer } from './composer.js';
import { Log } from './log.js';
import { nameOf } from '../format.js';
import { Avatar } from './parts.js';
import { Top } from './top.js';
import { Main, useDesk } from './window.js';

export const STATUS_WORDS = { online: 'Online', away: 'Away', offline: 'Offline' };

/** The conversation with one user. */
export function Conversation({ userId }: { userId: string }): JSX.Element {
  const { me, visible } = useDesk();
  const { messages, outgoing, username, unread, send, retry, discard, markRead } = useDirect(userId);
  const presence = usePresence(userId);
  const connected = useConnection().status === 'connected';
  const name = nameOf({ username, userId });
  useEffect(() => {
    if (visible && unread) markRead();
  }, [visible, unread, markRead]);
  const talk = useMemo(() => ({ messages, outgoing, hasOlder: false, unknown: false }), [messages, outgoing]);
  const status = connected ? presence?.status : undefined;
  return (
    <>
      <Main>
        <Top title={name} subtitle={status ? STATUS_WORDS[status] : 'Direct message'} before={<Avatar name={name} status={status} />} />
        <Banner />
        <Log
          talk={talk}
          me={me.sub}
          name={me.name}
          connected={connected}
          retry={retry}
          discard={discard}
          start={(empty) => (
            <>
              <Avatar name={name} />
              <strong>{name}</strong>
              <span>
                {empty
                  ? `Only you and ${name} read what is written here.`
                  : 'This is where this window remembers the conversation from.'}
              </span>
            </>
          )}
        />
        <div class="below" />
        <Composer place={`@${userId}`} label={`Message to ${name}`} placeholder={`Message ${name}`} send={send} />
      </Main>
      <aside class="panel members partner" aria-label={`About ${name}`}>
        <div class="profile">
          <Avatar name={name} status={status} />
          <h2>{name}</h2>
          <p>{status ? STATUS_WORDS[status] : 'Not in any of your rooms now'}</p>
        </div>
      </aside>
    </>
  );
}
