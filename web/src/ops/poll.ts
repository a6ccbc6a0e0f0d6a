import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/compat';
import { Api, ApiError } from './api.js';

export interface Desk {
  readonly api: Api;
  /** The hub refused the key. */
  readonly refused: (error: ApiError) => void;
}

export const DeskContext = createContext<Desk | undefined>(undefined);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (!desk) throw new Error('not inside the page');
  return desk;
}

export interface Polled<T> {
  readonly value: T | undefined;
  /** Why the last attempt failed; the value is then older. */
  readonly error: string | undefined;
  readonly again: () => void;
}

/** Asks again and again while the page is looked at, one question at a time; anew when `question` changes. */
export function usePoll<T>(question: string, ask: (api: Api) => Promise<T>, everyMs: number): Polled<T> {
  const { api, refused } = useDesk();
  const [state, setState] = useState<{ question: string; value?: T; error?: string }>({ question });
  const asked = useRef(ask);
  asked.current = ask;
  const [round, setRound] = useState(0);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let over = false;
    const turn = async (): Promise<void> => {
      try {
        const value = await asked.current(api);
        if (!over) setState({ question, value });
      } catch (error) {
        if (over) return;
        if (error instanceof ApiError && (error.status === 401 || (error.status === 403 && error.code === 'forbidden'))) refused(error);
        const words = error instanceof Error ? error.message : String(error);
        setState((now) => (now.question === question ? { ...now, error: words } : { question, error: words }));
      }
      if (!over) timer = setTimeout(look, everyMs);
    };
    // Nobody looks: nothing is asked.
    const look = (): void => void (document.hidden ? (timer = setTimeout(look, everyMs)) : turn());
    void turn();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [api, question, everyMs, round, refused]);

  const again = useCallback(() => setRound((count) => count + 1), []);
  const mine = state.question === question;
  return { value: mine ? state.value : undefined, error: mine ? state.error : undefined, again };
}

/** Does something once, and tells what came of it. */
export function useAction(): { busy: boolean; told: string; failed: boolean; run: (does: (api: Api) => Promise<string>) => void } {
  const { api } = useDesk();
  const [state, setState] = useState({ busy: false, told: '', failed: false });
  const run = useCallback(
    (does: (api: Api) => Promise<string>) => {
      setState({ busy: true, told: '', failed: false });
      does(api).then(
        (told) => setState({ busy: false, told, failed: false }),
        (error: unknown) => setState({ busy: false, told: error instanceof Error ? error.message : String(error), failed: true }),
      );
    },
    [api],
  );
  return { ...state, run };
}
