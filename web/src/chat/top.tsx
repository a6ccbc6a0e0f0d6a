import type { ComponentChildren, JSX } from 'preact';
import { useDirects, useUnread } from '@hubbub/client/react';
import { IconButton } from './parts.js';
import { useDesk } from './window.js';

interface TopProps {
  title: string;
  subtitle: string;
  before?: ComponentChildren;
  children?: ComponentChildren;
}

/** The head of a place. */
export function Top({ title, subtitle, before, children }: TopProps): JSX.Element {
  const { rooms, drawer, setDrawer } = useDesk();
  const { directs } = useDirects();
  const elsewhere = useUnread(rooms) + directs.reduce((sum, { unread }) => sum + unread, 0);
  return (
    <header class="top">
      <IconButton
        id="open-rooms"
        icon="menu"
        label={elsewhere ? `Rooms, ${elsewhere} unread` : 'Rooms'}
        aria-controls="rooms-panel"
        aria-expanded={drawer === 'rooms'}
        onClick={() => setDrawer('rooms')}
      >
        {elsewhere > 0 && <span class="dot" />}
      </IconButton>
      {before}
      <div class="titles">
        <h1 id="room-title">{title}</h1>
        <p id="room-subtitle">{subtitle}</p>
      </div>
      {children}
    </header>
  );
}
