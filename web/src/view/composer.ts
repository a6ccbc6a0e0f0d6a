import type { Chat } from '../model/chat.js';
import type { Room } from '../model/room.js';
import { byId, setText } from './dom.js';

/** Where a message is written; each room keeps its draft. */
export class Composer {
  readonly #text = byId<HTMLTextAreaElement>('text');
  readonly #chat: Chat;
  #room: Room | undefined;

  constructor(chat: Chat) {
    this.#chat = chat;
    this.#text.value = '';
    this.#text.oninput = () => this.#changed();
    this.#text.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    };
    byId<HTMLFormElement>('composer').onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
  }

  render(): void {
    const room = this.#chat.active;
    if (room === this.#room) return;
    if (this.#room) this.#room.draft = this.#text.value;
    this.#room = room;
    this.#text.value = room.draft;
    this.#text.placeholder = `Message #${room.id}`;
    setText(byId('text-label'), `Message to ${room.id}`);
    this.#fit();
  }

  focus(): void {
    this.#text.focus();
  }

  #changed(): void {
    this.#fit();
    const typing = this.#chat.client.typing(this.#chat.active.id);
    if (this.#text.value.trim()) typing.keystroke();
    else typing.stop();
  }

  #send(): void {
    const content = this.#text.value.trim();
    if (!content) return;
    this.#text.value = '';
    this.#fit();
    this.#chat.send(content);
    this.#text.focus();
  }

  /** As high as the text, within what the style sheet allows. */
  #fit(): void {
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }
}
