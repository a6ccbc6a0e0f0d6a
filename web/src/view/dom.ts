import { hue, initials } from '../format.js';

/** The element with this id; the page's own HTML has them all. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element "${id}"`);
  return element as T;
}

type Child = Node | string | false | undefined;

/** A new element with classes and children; text is always text, never markup. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child): child is Node | string => child !== false && child !== undefined));
  return element;
}

/** Writes only what differs, so that screen readers and selections are left in peace. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export function button(label: string, className: string, act: () => void): HTMLButtonElement {
  const element = el('button', className, label);
  element.type = 'button';
  element.addEventListener('click', act);
  return element;
}

export function avatar(name: string): HTMLElement {
  const element = el('span', `avatar ${hue(name)}`, initials(name));
  element.ariaHidden = 'true';
  return element;
}

interface Keyed {
  key: string;
  version: string;
}

/** Makes `parent` show `rows` in order, touching only the children whose key or version is new. */
export function reconcile<R extends Keyed>(parent: HTMLElement, rows: R[], make: (row: R) => HTMLElement): void {
  const wanted = new Set(rows.map((row) => row.key));
  const old = new Map<string, HTMLElement>();
  for (const child of [...parent.children] as HTMLElement[]) {
    const { key = '' } = child.dataset;
    if (wanted.has(key)) old.set(key, child);
    else child.remove();
  }
  let next = parent.firstElementChild as HTMLElement | null;
  for (const row of rows) {
    let child = old.get(row.key);
    if (child && child.dataset.version !== row.version) {
      const fresh = make(row);
      if (child === next) next = fresh;
      child.replaceWith(fresh);
      child = fresh;
    }
    child ??= make(row);
    child.dataset.key = row.key;
    child.dataset.version = row.version;
    if (child === next) next = next.nextElementSibling as HTMLElement | null;
    else parent.insertBefore(child, next);
  }
}
