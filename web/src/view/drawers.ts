import { byId } from './dom.js';

/** On narrow screens the lists are drawers; on wide ones they always show and nothing here happens. */
export class Drawers {
  #open: { panel: HTMLElement; opener: HTMLElement } | undefined;

  constructor() {
    this.#wire('open-rooms', 'rooms-panel');
    this.#wire('open-members', 'members-panel');
    byId('backdrop').onclick = () => this.close();
    for (const closer of document.querySelectorAll<HTMLElement>('[data-close]')) closer.onclick = () => this.close();
    addEventListener('keydown', (event) => event.key === 'Escape' && this.close());
    // A wide window shows the lists anyway.
    matchMedia('(min-width: 1001px)').addEventListener('change', () => this.close());
    matchMedia('(min-width: 721px)').addEventListener('change', () => this.close());
  }

  close(): void {
    if (!this.#open) return;
    const { panel, opener } = this.#open;
    this.#open = undefined;
    panel.classList.remove('open');
    byId('backdrop').classList.remove('open');
    opener.ariaExpanded = 'false';
    byId('room').inert = false;
    opener.focus();
  }

  #wire(openerId: string, panelId: string): void {
    const opener = byId(openerId);
    const panel = byId(panelId);
    opener.onclick = () => {
      this.close();
      this.#open = { panel, opener };
      panel.classList.add('open');
      byId('backdrop').classList.add('open');
      opener.ariaExpanded = 'true';
      panel.querySelector<HTMLElement>('[data-close]')?.focus();
      byId('room').inert = true;
    };
  }
}
