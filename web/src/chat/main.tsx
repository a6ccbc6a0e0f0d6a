import { render, type JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/compat';
import { currentIdentity, forgetIdentity, newIdentity, rememberedName, type Identity } from '../identity.js';
import { Mark } from './parts.js';
import { Window } from './window.js';

function Page(): JSX.Element {
  const [me, setMe] = useState(currentIdentity);
  if (!me) return <SignIn enter={(name) => setMe(newIdentity(name))} />;
  return (
    <Window
      key={me.sub}
      me={me as Identity}
      onSignOut={() => {
        forgetIdentity();
        setMe(undefined);
      }}
    />
  );
}

function SignIn({ enter }: { enter: (name: string) => void }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    document.title = 'hubbub';
    input.current?.focus();
    input.current?.select();
  }, []);
  return (
    <main id="signin" class="signin">
      <form
        id="signin-form"
        class="card"
        autocomplete="off"
        onSubmit={(event) => {
          event.preventDefault();
          const name = input.current?.value.trim().replace(/\s+/gu, ' ');
          setError(name ? '' : 'Please write a name.');
          if (name) enter(name);
        }}
      >
        <Mark />
        <h1>hubbub</h1>
        <p>Pick a name and start talking. Open this page in a second window to be someone else.</p>
        <label for="name">Your name</label>
        <input
          ref={input}
          id="name"
          name="name"
          required
          maxLength={40}
          autocomplete="nickname"
          spellcheck={false}
          aria-describedby="signin-error"
          defaultValue={rememberedName()}
        />
        <p id="signin-error" class="error" role="alert">{error}</p>
        <button id="signin-button" class="primary">Start chatting</button>
        <p class="fine">Development mode: anyone who can open this page may join.</p>
      </form>
    </main>
  );
}

const root = document.getElementById('root');
if (root) render(<Page />, root);
