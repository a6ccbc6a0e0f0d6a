import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/compat';

export function Problem({ words }: { words: string | undefined }): JSX.Element | null {
  return words ? <p class="problem" role="alert">{words}</p> : null;
}

/** What came of an action. */
export function Told({ told, failed }: { told: string; failed: boolean }): JSX.Element {
  return <p class={failed ? 'told failed' : 'told'} role="status">{told}</p>;
}

export function Pill({ tone, children }: { tone: 'good' | 'warn' | 'bad' | 'calm'; children: ComponentChildren }): JSX.Element {
  return <span class={`pill ${tone}`}>{children}</span>;
}

export function statusTone(status: string): 'good' | 'warn' | 'calm' {
  return status === 'online' ? 'good' : status === 'away' ? 'warn' : 'calm';
}

interface ConfirmProps {
  title: string;
  children: ComponentChildren;
  action: string;
  onClose: (confirmed: boolean) => void;
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, children, action, onClose }: ConfirmProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="confirm-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose(false);
      }}
    >
      <h2 id="confirm-title">{title}</h2>
      {children}
      <div class="row end">
        <button type="button" class="plainly" onClick={() => onClose(false)}>Cancel</button>
        <button type="button" class="danger" onClick={() => onClose(true)}>{action}</button>
      </div>
    </dialog>
  );
}

interface TableProps {
  label: string;
  head: readonly (string | { name: string; right: true })[];
  children: ComponentChildren;
}

/** A table that scrolls by itself when the window is narrow. */
export function Table({ label, head, children }: TableProps): JSX.Element {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((one) => {
              const name = typeof one === 'string' ? one : one.name;
              return <th key={name} scope="col" class={typeof one === 'string' ? '' : 'right'}>{name}</th>;
            })}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
