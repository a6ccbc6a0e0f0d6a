import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/compat';
import type { ConnectionState } from '@hubbub/client';
import { useConnection, useHubbub } from '@hubbub/client/react';

/** A connection that comes quicker needs no words. */
const QUICK_MS = 400;
const BACK_MS = 3_000;
/** For so long after the hub said that it restarts, failing attempts are no news. */
const RESTART_MS = 30_000;

/** The connection in words, with what can be done about it. */
export function Banner(): JSX.Element | null {
  const client = useHubbub();
  const state = useConnection();
  const { wasDown, restartingUntil } = useOutage(state);
  const quiet = useQuiet(state, wasDown);
  const seconds = useCountdown(state.status === 'reconnecting' ? state.retryAt : null);

  if (quiet) return null;
  if (state.status === 'connecting') return <Shown tone="busy" text="Connecting…" />;
  if (state.status === 'connected') return <Shown tone="good" text="Connected again." />;
  if (state.status === 'closed') {
    return <Shown tone="bad" text={closedWords(state.code, state.reason)} action="Connect again" act={() => client.connect()} />;
  }
  const trying = state.retryAt === null;
  return (
    <Shown
      tone="busy"
      text={waitingWords(state.reason, restartingUntil)}
      countdown={trying || seconds <= 0 ? 'Connecting…' : `Next try in ${seconds} s.`}
      action="Try now"
      disabled={trying}
      act={() => client.retryNow()}
    />
  );
}

interface ShownProps {
  tone: 'busy' | 'good' | 'bad';
  text: string;
  countdown?: string;
  action?: string;
  disabled?: boolean;
  act?: () => void;
}

/** The sentence is read aloud once; the seconds beside it are not. */
function Shown({ tone, text, countdown = '', action, disabled = false, act }: ShownProps): JSX.Element {
  return (
    <div id="banner" class={`banner ${tone}`}>
      <span class="spinner" aria-hidden="true" />
      <p>
        <span id="banner-text" role="status">{text}</span> <span id="banner-countdown">{countdown}</span>
      </p>
      {action && (
        <button type="button" id="banner-action" disabled={disabled} onClick={act}>
          {action}
        </button>
      )}
    </div>
  );
}

/** What the states before this one say about it. */
function useOutage(state: ConnectionState): { wasDown: boolean; restartingUntil: number } {
  const outage = useRef({ wasDown: false, restartingUntil: 0 });
  const now = outage.current;
  if (state.status === 'reconnecting' || (state.status === 'closed' && state.code !== undefined)) now.wasDown = true;
  if (state.status === 'reconnecting' && state.code === 1012) now.restartingUntil = Date.now() + RESTART_MS;
  if (state.status === 'connected') now.restartingUntil = 0;
  return now;
}

/** Whether there is nothing to say, now or after a moment. */
function useQuiet(state: ConnectionState, wasDown: boolean): boolean {
  const [settled, setSettled] = useState<ConnectionState>();
  useEffect(() => {
    const ms = state.status === 'connecting' ? QUICK_MS : state.status === 'connected' ? BACK_MS : 0;
    const timer = setTimeout(() => setSettled(state), ms);
    return () => clearTimeout(timer);
  }, [state]);
  if (state.status === 'connecting') return settled !== state;
  if (state.status === 'connected') return !wasDown || settled === state;
  return state.status === 'closed' && state.code === undefined;
}

function useCountdown(until: number | null): number {
  const [, setNow] = useState(0);
  useEffect(() => {
    if (until === null) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [until]);
  return until === null ? 0 : Math.ceil((until - Date.now()) / 1_000);
}

function waitingWords(reason: string, restartingUntil: number): string {
  if (!navigator.onLine) return 'You are offline.';
  return Date.now() < restartingUntil ? 'The hub is restarting.' : `No connection: ${reason}.`;
}

function closedWords(code: number | undefined, reason: string): string {
  switch (code) {
    case 4401:
    case 4403:
      return `You are signed out: ${reason.replace(/\.$/, '')}.`;
    case 4409:
      return 'You are signed in from too many other windows, so this one was disconnected.';
    case 4429:
      return 'This window sent too much and was disconnected. Wait a moment before you connect again.';
    default:
      return `You are disconnected: ${reason.replace(/\.$/, '')}.`;
  }
}
