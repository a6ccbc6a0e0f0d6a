import type { ComponentChildren, JSX } from 'preact';
import { hue, initials } from '../format.js';

const PATHS = {
  close: 'm5 5 10 10M15 5 5 15',
  plus: 'M10 4v12M4 10h12',
  pen: 'm4 16 .7-3.2L13.4 4a1.8 1.8 0 0 1 2.6 2.6l-8.8 8.7L4 16ZM11.8 5.7l2.5 2.5',
  menu: 'M3 6h14M3 10h14M3 14h14',
  people: 'M5 7a3 3 0 1 0 6 0 3 3 0 1 0-6 0M2.5 17c0-3.2 2.4-5 5.5-5s5.5 1.8 5.5 5M13 4.4a3 3 0 0 1 0 5.2M15 12.4c1.6.7 2.5 2.2 2.5 4.6',
  send: 'M3.5 10h12M10.5 4.5 16 10l-5.5 5.5',
  down: 'M10 4v11M5 10.5l5 5 5-5',
  check: 'm4 10.5 4 4 8-9',
  checks: 'm1.5 10.5 4 4 7-9M9 14l.6.5 8-9',
};

export function Icon({ name }: { name: keyof typeof PATHS }): JSX.Element {
  return (
    <svg aria-hidden="true" viewBox="0 0 20 20">
      <path d={PATHS[name]} />
    </svg>
  );
}

type IconButtonProps = JSX.IntrinsicElements['button'] & {
  icon: keyof typeof PATHS;
  label: string;
  children?: ComponentChildren;
};

export function IconButton({ icon, label, class: more, children, ...rest }: IconButtonProps): JSX.Element {
  return (
    <button type="button" class={`icon ${more ?? ''}`.trim()} aria-label={label} {...rest}>
      <Icon name={icon} />
      {children}
    </button>
  );
}

export function Mark(): JSX.Element {
  return (
    <span class="mark" aria-hidden="true">
      <i />
      <i />
      <i />
    </span>
  );
}

/** A face; decoration beside a name. */
export function Avatar({ name, status }: { name: string; status?: string | undefined }): JSX.Element {
  return (
    <span class={`avatar ${hue(name)} ${status ? `is-${status}` : ''}`.trim()} aria-hidden="true">
      {initials(name)}
    </span>
  );
}

export function Badge({ count }: { count: number }): JSX.Element | null {
  if (!count) return null;
  return (
    <span class="badge">
      {count > 99 ? '99+' : count}
      <span class="sr"> unread</span>
    </span>
  );
}
