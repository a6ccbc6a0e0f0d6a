import type { Member } from '@hubbub/client';
import type { Chat } from '../model/chat.js';
import { hue, initials, listNames } from '../format.js';
import { avatar, byId, button, el, reconcile, setHidden, setText } from './dom.js';

const ORDER = { online: 0, away: 1, offline: 2 };

/** The list of rooms with their unread marks, and who sits here. */
export class RoomsView {
  readonly #list = byId('rooms');
  readonly #chat: Chat;
  readonly #open: (id: string) => void;

  constructor(chat: Chat, open: (id: string) => void) {
    this.#chat = chat;
    this.#open = open;
    setText(byId('me-name'), chat.me.name);
    const face = byId('me-avatar');
    face.className = `avatar ${hue(chat.me.name)}`;
    setText(face, initials(chat.me.name));
  }

  render(): void {
    const chat = this.#chat;
    const rooms = [...chat.rooms.values()];
    const rows = rooms.map((room) => {
      const current = room === chat.active;
      return { key: room.id, version: `${current} ${room.unread} ${rooms.length > 1}`, room, current };
    });
    const focused = document.activeElement?.closest<HTMLElement>('#rooms > li')?.dataset.key;
    reconcile(this.#list, rows, ({ room, current }) => {
      const open = el('a', 'open', el('span', 'hash', '#'), el('span', 'name', room.id));
      open.href = `#${encodeURIComponent(room.id)}`;
      open.onclick = () => this.#open(room.id);
      if (current) open.ariaCurrent = 'page';
      if (room.unread) {
        const count = room.unread > 99 ? '99+' : String(room.unread);
        open.append(el('span', 'badge', count, el('span', 'sr', ' unread')));
      }
      const leave = button('', 'icon leave', () => chat.leave(room.id));
      leave.innerText = '×';
      leave.ariaLabel = `Leave ${room.id}`;
      return el('li', `${current ? 'current' : ''} ${room.unread ? 'unread' : ''}`.trim(), open, rooms.length > 1 && leave);
    });
    if (focused && document.activeElement === document.body) {
      this.#list.querySelector<HTMLElement>(`li[data-key="${CSS.escape(focused)}"] a`)?.focus();
    }

    const elsewhere = rooms.reduce((sum, room) => sum + (room === chat.active ? 0 : room.unread), 0);
    const unread = rooms.reduce((sum, room) => sum + room.unread, 0);
    setHidden(byId('rooms-badge'), elsewhere === 0);
    byId('open-rooms').ariaLabel = elsewhere ? `Rooms, ${elsewhere} unread` : 'Rooms';
    document.title = `${unread ? `(${unread}) ` : ''}#${chat.active.id} · hubbub`;
    const words = { connecting: 'Connecting…', connected: 'Online', reconnecting: 'Not connected', closed: 'Signed out' };
    setText(byId('me-status'), words[chat.state.status]);
    byId('me-avatar').classList.toggle('is-online', chat.state.status === 'connected');
  }
}

/** Who is in the active room, and who types. */
export class MembersView {
  readonly #list = byId('members');
  readonly #chat: Chat;

  constructor(chat: Chat) {
    this.#chat = chat;
    this.#list.replaceChildren();
  }

  render(): void {
    const { active, me, state } = this.#chat;
    const known = state.status === 'connected';
    const members = [...active.members.values()].sort((a, b) => this.#compare(a, b));
    const rows = members.map((member) => ({
      key: member.userId,
      version: `${member.username} ${member.status} ${member.socketCount > 1} ${known}`,
      member,
    }));
    reconcile(this.#list, rows, ({ member: { userId, username, status, socketCount } }) => {
      const mine = userId === me.sub;
      const face = avatar(username);
      if (known) face.classList.add(`is-${status}`);
      const present = { online: 'Online', away: 'Away', offline: 'Offline' }[status] ?? status;
      const words = known ? present : mine ? 'Not connected' : 'Was here';
      const item = el(
        'li',
        known ? status : 'unknown',
        face,
        el('span', 'who', el('strong', '', username, mine && el('span', 'you', ' (you)')), el('small', '', words)),
      );
      if (socketCount > 1) item.title = `${socketCount} windows open`;
      return item;
    });
    const count = Math.max(active.memberCount, members.length);
    const more = count - members.length;
    setText(byId('members-more'), more > 0 ? `and ${more} more` : '');
    setText(byId('members-heading'), count ? `People · ${count}` : 'People');
    setText(byId('room-title'), `# ${active.id}`);
    const people = count === 1 ? 'Only you are here' : `${count} people here`;
    const outside = { connecting: 'Connecting…', connected: 'Entering…', reconnecting: 'Not connected', closed: 'Signed out' };
    setText(byId('room-subtitle'), active.joined ? people : outside[state.status]);
    byId('open-members').ariaLabel = `People in this room: ${count}`;
    this.#renderTyping();
  }

  #renderTyping(): void {
    const names = [...this.#chat.active.typing.values()].map(({ name }) => name);
    const line = byId('typing');
    const words = names.length ? `${listNames(names)} ${names.length === 1 ? 'is' : 'are'} typing` : '';
    setText(line, words);
    line.classList.toggle('on', names.length > 0);
  }

  /** You first, then who is there, then by name. */
  #compare(a: Member, b: Member): number {
    const mine = Number(b.userId === this.#chat.me.sub) - Number(a.userId === this.#chat.me.sub);
    return mine || (ORDER[a.status] ?? 3) - (ORDER[b.status] ?? 3) || a.username.localeCompare(b.username);
  }
}
