import type { JSX } from 'preact';
import { useRef } from 'preact/compat';
import { segment, type Api, type RoomInfo, type RoomList } from './api.js';
import { Problem, Table } from './parts.js';
import { usePoll } from './poll.js';
import { number } from './words.js';

const EVERY_MS = 4_000;
const LISTED = 1_000;
/** The rooms with most members whose traffic is measured. */
const MEASURED = 40;

interface Row {
  roomId: string;
  memberCount: number;
  offset: number | undefined;
  perSecond: number | undefined;
}

/** Rooms by traffic: stored messages, as their offsets grow. */
export function Rooms({ follow }: { follow: (room: string, message: string) => void }): JSX.Element {
  const before = useRef(new Map<string, { at: number; offset: number; epoch: string }>());
  const { value, error } = usePoll('rooms', (api) => look(api, before.current), EVERY_MS);
  return (
    <section class="card-like">
      <h2>Rooms</h2>
      <p class="fine">
        {value ? `${number(value.count)} rooms have a member. ` : ''}
        The {MEASURED} with most members, those with most stored messages first.
      </p>
      <Problem words={error} />
      <Table label="Rooms" head={['Room', { name: 'Members', right: true }, { name: 'Messages a second', right: true }, { name: 'Messages ever', right: true }, 'Newest']}>
        {value?.rows.map(({ roomId, memberCount, offset, perSecond }) => (
          <tr key={roomId}>
            <th scope="row">{roomId}</th>
            <td class="right">{number(memberCount)}</td>
            <td class="right">{perSecond === undefined ? '–' : number(perSecond)}</td>
            <td class="right">{offset === undefined ? '–' : number(offset)}</td>
            <td>
              {offset ? (
                <button type="button" class="small plainly" onClick={() => follow(roomId, String(offset))}>
                  Follow<span class="sr"> the newest message of {roomId}</span>
                </button>
              ) : null}
            </td>
          </tr>
        ))}
        {value && !value.rows.length && <tr><td colSpan={5}>No room has a member.</td></tr>}
      </Table>
    </section>
  );
}

async function look(api: Api, before: Map<string, { at: number; offset: number; epoch: string }>): Promise<{ rows: Row[]; count: number }> {
  const list = await api.get<RoomList>(`/api/rooms?limit=${LISTED}`);
  const most = [...list.rooms].sort((a, b) => b.memberCount - a.memberCount).slice(0, MEASURED);
  const rows = await Promise.all(
    most.map(async ({ roomId, memberCount }): Promise<Row> => {
      // A room may end between the two questions.
      const info = await api.get<RoomInfo>(`/api/rooms/${segment(roomId)}`).catch(() => undefined);
      if (!info) return { roomId, memberCount, offset: undefined, perSecond: undefined };
      const { offset, epoch } = info;
      const at = Date.now();
      const old = before.get(roomId);
      const perSecond = old?.epoch === epoch && at > old.at ? ((offset - old.offset) * 1_000) / (at - old.at) : undefined;
      before.set(roomId, { at, offset, epoch });
      return { roomId, memberCount, offset, perSecond };
    }),
  );
  const shown = new Set(most.map(({ roomId }) => roomId));
  for (const room of before.keys()) if (!shown.has(room)) before.delete(room);
  rows.sort((a, b) => (b.perSecond ?? 0) - (a.perSecond ?? 0) || b.memberCount - a.memberCount || a.roomId.localeCompare(b.roomId));
  return { rows, count: list.roomCount };
}
