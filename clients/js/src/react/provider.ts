import { createContext, createElement, useContext, useEffect, useRef, useState, type ReactElement, type ReactNode } from 'react';
import { HubbubClient, type ClientOptions, type Events } from '../index.js';

/** A client, whatever its custom events carry. */
type AnyClient = HubbubClient<any>;

const Context = createContext<AnyClient | undefined>(undefined);

export type HubbubProviderProps = { children?: ReactNode } & (
  | {
      /** A client of your own; you connect and close it. */
      client: AnyClient;
      options?: undefined;
    }
  | {
      client?: undefined;
      /** A client is made of these, connected while the provider is mounted. Later changes are ignored. */
      options?: ClientOptions;
    }
);

/** Gives the hooks below it their client. On a server nothing is connected. */
export function HubbubProvider({ client, options, children }: HubbubProviderProps): ReactElement {
  const [own] = useState(() => client ?? new HubbubClient(options));
  const closing = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    if (client) return;
    // StrictMode unmounts and mounts again at once: the connection outlives that.
    clearTimeout(closing.current);
    own.connect();
    return () => {
      closing.current = setTimeout(() => own.close(), 0);
    };
  }, [client, own]);
  return createElement(Context.Provider, { value: client ?? own }, children) as ReactElement;
}

/** The client of the provider above. `E` says what the custom events of your application carry. */
export function useHubbub<E extends object = Events>(): HubbubClient<E> {
  const client = useContext(Context);
  if (!client) throw new Error('There is no <HubbubProvider> above this component.');
  return client;
}
