import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/compat';
import { useConnection, useRoom } from '@hubbub/client/react';
import { errorWords, listNames, nameOf } from '../format.js';
import { Banner } from './banner.js';
import { Composer } from './composer.js';
import { Log } from './log.js';
import { People } from './people.js';
import { IconButton } from './parts.js';
import { receiptWords } from './rows.js';
import { Top } from './top.js';
import { Main, useDesk, useOutside } from './window.js';

/** A room: what is said in it, and who is there. */
export function Room({ roomId }: { roomId: string }): JSX.Element {
  const { me, visible, drawer, setDrawer, toast } = useDesk();
  const room = useRoom(roomId, { watching: visible });
  const { messages, outgoing, firstUnread, members, readBy, deliveredTo, history, status } = room;
  const connected = useConnection().status === 'connected';
  const outside = useOutside();

  const known = status !== 'joining' || messages.length > 0;
  const talk = useMemo(
    () => ({ messages, outgoing, firstUnread, hasOlder: history.hasOlder, unknown: !known }),
    [messages, outgoing, firstUnread, history.hasOlder, known],
  );
  useEffect(() => {
    if (history.error && connected) toast(`Older messages could not be loaded: ${errorWords(history.error)}.`);
  }, [history.error]);

  const names = useMemo(() => new Map(members.map((member) => [member.userId, nameOf(member)])), [members]);
  const count = Math.max(room.memberCount, members.length);
  const people = count === 1 ? 'Only you are here' : `${count} people here`;
  const receipt = (offset: number) => receiptWords(offset, readBy, deliveredTo, names, count - 1);

  return (
    <>
      <Main>
        <Top title={`# ${roomId}`} subtitle={status === 'joined' ? people : outside}>
          <IconButton
            id="open-members"
            class="people"
            icon="people"
            label={`People in this room: ${count}`}
            aria-controls="members-panel"
            aria-expanded={drawer === 'people'}
            onClick={() => setDrawer('people')}
          />
        </Top>
        <Banner />
        <Log
          talk={talk}
          me={me.sub}
          name={me.name}
          connected={connected}
          loading={history.loading}
          failed={history.error !== undefined}
          loadOlder={room.loadOlder}
          retry={room.retry}
          discard={room.discard}
          receipt={receipt}
          start={(empty) => (
            <>
              <span class="tile" aria-hidden="true">#</span>
              <strong>{roomId}</strong>
              <span>
                {empty
                  ? 'Nothing has been said here yet. Write the first message, or open a second window to answer yourself.'
                  : 'This is where the conversation begins.'}
              </span>
            </>
          )}
        />
        <TypingLine names={room.typing.map(nameOf)} />
        <Composer
          place={`#${roomId}`}
          label={`Message to ${roomId}`}
          placeholder={`Message #${roomId}`}
          send={room.send}
          keystroke={room.keystroke}
          stopTyping={room.stopTyping}
        />
      </Main>
      <People members={members} count={count} known={connected && status === 'joined'} />
    </>
  );
}

function TypingLine({ names }: { names: string[] }): JSX.Element {
  const words = names.length ? `${listNames(names)} ${names.length === 1 ? 'is' : 'are'} typing` : '';
  return (
    <div class="below">
      <p id="typing" class={words ? 'typing on' : 'typing'} aria-hidden="true">
        {words && <span class="dots"><i /><i /><i /></span>}
        {words}
      </p>
    </div>
  );
}
