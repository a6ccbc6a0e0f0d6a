import type { HubbubError } from '@hubbub/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/compat';
import { useConnection, useDirects, usePresence, useRoomState, type DirectState } from '@hubbub/client/react';
import { nameOf } from '../format.js';
import { Avatar, Badge, IconButton, Mark } from './parts.js';
import { hashOf, roomName } from './place.js';
import { useDesk, usePanel } from './window.js';

interface SidebarProps {
  rooms: readonly string[];
  directs: readonly DirectState[];
  leave: (room: string) => void;
  refused: (room: string, error: HubbubError) => void;
  signOut: () => void;
}

/** The rooms and conversations with their unread marks, and who sits here. */
export function Sidebar({ rooms, directs, leave, refused, signOut }: SidebarProps): JSX.Element {
  const { ref, open, close } = usePanel('rooms');
  return (
    <nav ref={ref} id="rooms-panel" class={open ? 'panel rooms open' : 'panel rooms'} aria-label="Rooms">
      <div class="brand">
        <Mark />
        <span class="wordmark">hubbub</span>
        <IconButton icon="close" label="Close the list of rooms" class="close" onClick={close} />
      </div>
      <div class="lists">
        <h2 id="rooms-heading">Rooms</h2>
        <ul id="rooms" aria-labelledby="rooms-heading">
          {rooms.map((room) => <RoomLink key={room} room={room} leave={rooms.length > 1 ? leave : undefined} refused={refused} />)}
        </ul>
        <JoinForm />
        {directs.length > 0 && (
          <>
            <h2 id="directs-heading">Direct messages</h2>
            <ul id="directs" aria-labelledby="directs-heading">
              {directs.map((direct) => <DirectLink key={direct.userId} direct={direct} />)}
            </ul>
          </>
        )}
      </div>
      <Me signOut={signOut} />
    </nav>
  );
}

interface RoomLinkProps {
  room: string;
  leave: ((room: string) => void) | undefined;
  refused: (room: string, error: HubbubError) => void;
}

function RoomLink({ room, leave, refused }: RoomLinkProps): JSX.Element {
  const { place, open } = useDesk();
  const unread = useRoomState(room, (state) => state.unread);
  const error = useRoomState(room, (state) => state.error);
  const current = place.room === room;
  useEffect(() => {
    if (error) refused(room, error);
  }, [error]);
  return (
    <li class={[current && 'current', unread && 'unread'].filter(Boolean).join(' ')}>
      <a
        class="open"
        href={hashOf({ room })}
        aria-current={current ? 'page' : undefined}
        onClick={(event) => {
          event.preventDefault();
          open({ room });
        }}
      >
        <span class="hash" aria-hidden="true">#</span>
        <span class="name">{room}</span>
        <Badge count={unread} />
      </a>
      {leave && <IconButton icon="close" label={`Leave ${room}`} class="leave" onClick={() => leave(room)} />}
    </li>
  );
}

function DirectLink({ direct }: { direct: DirectState }): JSX.Element {
  const { userId, unread } = direct;
  const name = nameOf(direct);
  const { place, open } = useDesk();
  const { close } = useDirects();
  const presence = usePresence(userId);
  const connected = useConnection().status === 'connected';
  const current = place.user === userId;
  return (
    <li class={[current && 'current', unread && 'unread'].filter(Boolean).join(' ')}>
      <a
        class="open"
        href={hashOf({ user: userId })}
        aria-current={current ? 'page' : undefined}
        onClick={(event) => {
          event.preventDefault();
          open({ user: userId });
        }}
      >
        <Avatar name={name} status={connected ? presence?.status : undefined} />
        <span class="name">{name}</span>
        <Badge count={unread} />
      </a>
      {!current && <IconButton icon="close" label={`Forget the conversation with ${name}`} class="leave" onClick={() => close(userId)} />}
    </li>
  );
}

function JoinForm(): JSX.Element {
  const { open } = useDesk();
  const [error, setError] = useState('');
  return (
    <form
      id="join-form"
      class="join"
      autocomplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        const input = event.currentTarget.elements.namedItem('join-name') as HTMLInputElement;
        const room = roomName(input.value);
        setError(room ? '' : 'Please write a name for the room.');
        if (!room) return;
        input.value = '';
        open({ room });
      }}
    >
      <label for="join-name" class="sr">Room to join or create</label>
      <input
        id="join-name"
        name="join-name"
        placeholder="Join or create a room"
        required
        maxLength={64}
        spellcheck={false}
        aria-describedby="join-error"
        onInput={() => setError('')}
      />
      <IconButton icon="plus" label="Join this room" type="submit" />
      <p id="join-error" class="error" role="alert">{error}</p>
    </form>
  );
}

function Me({ signOut }: { signOut: () => void }): JSX.Element {
  const { me } = useDesk();
  const { status } = useConnection();
  const words = { connecting: 'Connecting…', connected: 'Online', reconnecting: 'Not connected', closed: 'Signed out' }[status];
  return (
    <div class="me">
      <Avatar name={me.name} status={status === 'connected' ? 'online' : undefined} />
      <span class="who">
        <strong id="me-name">{me.name}</strong>
        <small id="me-status">{words}</small>
      </span>
      <IconButton id="sign-out" icon="pen" label="Change name" title="Change name" onClick={signOut} />
    </div>
  );
}
