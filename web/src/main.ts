import { currentIdentity, forgetIdentity, newIdentity, rememberedName, type Identity } from './identity.js';
import { Chat, DEFAULT_ROOM } from './model/chat.js';
import { Banner } from './view/banner.js';
import { Composer } from './view/composer.js';
import { button, byId, el, setHidden, setText } from './view/dom.js';
import { Drawers } from './view/drawers.js';
import { LogView } from './view/log.js';
import { MembersView, RoomsView } from './view/sidebars.js';

const AWAY_AFTER_MS = 5 * 60_000;
const TOAST_MS = 7_000;
/** Control characters have no place in a room's name. */
const BAD_ROOM = /[\u0000-\u001f\u007f]/u;

function signIn(): void {
  const name = byId<HTMLInputElement>('name');
  setHidden(byId('app'), true);
  setHidden(byId('signin'), false);
  document.title = 'hubbub';
  name.value = rememberedName();
  name.focus();
  name.select();
  byId<HTMLFormElement>('signin-form').onsubmit = (event) => {
    event.preventDefault();
    const chosen = name.value.trim().replace(/\s+/gu, ' ');
    setText(byId('signin-error'), chosen ? '' : 'Please write a name.');
    if (chosen) start(newIdentity(chosen));
  };
}

function start(me: Identity): void {
  setHidden(byId('signin'), true);
  setHidden(byId('app'), false);

  const chat = new Chat(me, render);
  const open = (room: string): void => {
    drawers.close();
    location.hash = encodeURIComponent(room);
    chat.open(room);
    // On a phone the keyboard would cover what was just opened.
    if (matchMedia('(pointer: fine)').matches) composer.focus();
  };
  const drawers = new Drawers();
  const log = new LogView(chat);
  const rooms = new RoomsView(chat, open);
  const members = new MembersView(chat);
  const composer = new Composer(chat);
  const banner = new Banner(
    () => chat.client.retryNow(),
    () => location.reload(),
  );

  function render(): void {
    banner.render(chat.state);
    rooms.render();
    members.render();
    composer.render();
    log.render();
    if (roomInHash() !== chat.active.id) history.replaceState(null, '', `#${encodeURIComponent(chat.active.id)}`);
  }

  chat.onNotice = toast;
  wireJoin(open);
  onhashchange = () => {
    const room = roomInHash();
    if (room && room !== chat.active.id) chat.open(room);
  };
  wireAway(chat);
  byId('sign-out').onclick = () => {
    chat.close();
    forgetIdentity();
    location.reload();
  };
  chat.open(roomInHash() || DEFAULT_ROOM);
  composer.focus();
}

function wireJoin(open: (room: string) => void): void {
  const input = byId<HTMLInputElement>('join-name');
  const error = byId('join-error');
  input.oninput = () => setText(error, '');
  byId<HTMLFormElement>('join-form').onsubmit = (event) => {
    event.preventDefault();
    const room = input.value.trim().replace(/^#\s*/u, '').replace(/\s+/gu, '-');
    if (!room || BAD_ROOM.test(room)) {
      setText(error, 'Please write a name for the room.');
      return;
    }
    input.value = '';
    setText(error, '');
    open(room);
  };
}

/** Away after the window was hidden for a while, back when it is looked at. */
function wireAway(chat: Chat): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  document.onvisibilitychange = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => chat.client.setPresence('away'), AWAY_AFTER_MS);
    } else {
      chat.client.setPresence('online');
      chat.look();
    }
  };
}

function roomInHash(): string {
  try {
    const room = decodeURIComponent(location.hash.slice(1)).trim();
    return BAD_ROOM.test(room) ? '' : room.slice(0, 64);
  } catch {
    return '';
  }
}

function toast(words: string): void {
  const toasts = byId('toasts');
  const one = el('div', 'toast', el('span', '', words));
  const close = button('×', 'icon', () => one.remove());
  close.ariaLabel = 'Close this note';
  one.append(close);
  while (toasts.children.length >= 3) toasts.firstElementChild?.remove();
  toasts.append(one);
  setTimeout(() => one.remove(), TOAST_MS);
}

const me = currentIdentity();
if (me) start(me);
else signIn();
