import type { Member } from '@hubbub/client';
import type { JSX } from 'preact';
import { useMemo } from 'preact/compat';
import { nameOf } from '../format.js';
import { STATUS_WORDS } from './conversation.js';
import { Avatar, IconButton } from './parts.js';
import { useDesk, usePanel } from './window.js';

const ORDER = { online: 0, away: 1, offline: 2 };

/** Who is in the room. A click begins a conversation. */
export function People({ members, count, known }: { members: readonly Member[]; count: number; known: boolean }): JSX.Element {
  const { me, talkTo } = useDesk();
  const { ref, open, close } = usePanel('people');
  const sorted = useMemo(() => [...members].sort((a, b) => compare(a, b, me.sub)), [members, me]);
  const more = count - members.length;
  return (
    <aside ref={ref} id="members-panel" class={open ? 'panel members open' : 'panel members'} aria-label="People in this room">
      <div class="brand">
        <h2 id="members-heading">{count ? `People · ${count}` : 'People'}</h2>
        <IconButton icon="close" label="Close the list of people" class="close" onClick={close} />
      </div>
      <ul id="members" aria-labelledby="members-heading">
        {sorted.map((member) => {
          const { userId, status, socketCount } = member;
          const name = nameOf(member);
          const mine = userId === me.sub;
          const words = known ? STATUS_WORDS[status] : mine ? 'Not connected' : 'Was here';
          const inside = (
            <>
              <Avatar name={name} status={known ? status : undefined} />
              <span class="who">
                <strong>{name}{mine && <span class="you"> (you)</span>}</strong>
                <small>{words}</small>
              </span>
            </>
          );
          return (
            <li key={userId} class={known ? status : 'unknown'} title={socketCount > 1 ? `${socketCount} windows open` : undefined}>
              {mine ? (
                <div class="person">{inside}</div>
              ) : (
                <button type="button" class="person" onClick={() => talkTo(userId, name)}>
                  {inside}
                  <span class="sr">, write a direct message</span>
                </button>
              )}
            </li>
          );
        })}
      </ul>
      <p id="members-more" class="fine">{more > 0 ? `and ${more} more` : ''}</p>
    </aside>
  );
}

/** You first, then who is there, then by name. */
function compare(a: Member, b: Member, me: string): number {
  const mine = Number(b.userId === me) - Number(a.userId === me);
  return mine || (ORDER[a.status] ?? 3) - (ORDER[b.status] ?? 3) || nameOf(a).localeCompare(nameOf(b));
}
