import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/compat';
import { IconButton } from './parts.js';

/** What is written and not sent, by place. */
const drafts = new Map<string, string>();

interface ComposerProps {
  /** Tells places apart; each keeps its draft. */
  place: string;
  label: string;
  placeholder: string;
  send: (content: string) => void;
  keystroke?: () => void;
  stopTyping?: () => void;
}

/** Where a message is written. */
export function Composer({ place, label, placeholder, send, keystroke, stopTyping }: ComposerProps): JSX.Element {
  const text = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const area = text.current;
    if (!area) return;
    area.value = drafts.get(place) ?? '';
    fit(area);
    // On a phone the keyboard would cover what was just opened.
    if (matchMedia('(pointer: fine)').matches) area.focus();
    return () => {
      if (area.value) drafts.set(place, area.value);
      else drafts.delete(place);
      stopTyping?.();
    };
  }, [place]);

  const submit = (): void => {
    const area = text.current;
    const content = area?.value.trim();
    if (!area || !content) return;
    area.value = '';
    fit(area);
    send(content);
    area.focus();
  };

  return (
    <>
      <form
        id="composer"
        class="composer"
        autocomplete="off"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <label for="text" class="sr">{label}</label>
        <textarea
          ref={text}
          id="text"
          rows={1}
          maxLength={8000}
          enterkeyhint="send"
          placeholder={placeholder}
          onInput={({ currentTarget }) => {
            fit(currentTarget);
            if (currentTarget.value.trim()) keystroke?.();
            else stopTyping?.();
          }}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            submit();
          }}
        />
        <IconButton icon="send" label="Send" type="submit" class="primary send" />
      </form>
      <p class="hint" aria-hidden="true">
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd> + <kbd>Enter</kbd> starts a new line
      </p>
    </>
  );
}

/** As high as the text, within what the style sheet allows. */
function fit(area: HTMLTextAreaElement): void {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + 2}px`;
}
