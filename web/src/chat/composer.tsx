import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Icon } from '../parts/icon.js';
import { info } from '../server.js';
import type { Recorder } from '../recorder.js';
import type { Talk } from './talk.js';

/** Speak, choose a recording, or type. */
export function Composer({
  talk,
  recorder,
  onRecord,
}: {
  talk: Talk;
  recorder: Recorder;
  onRecord: () => void;
}) {
  const { chat } = t();
  const [text, setText] = useState('');
  const words = useRef<HTMLTextAreaElement>(null);
  const isClosed = talk.line.value.state === 'closed';
  const send = () => {
    const said = text.trim();
    if (said === '' || isClosed) return;
    setText('');
    talk.sayText(said);
    words.current?.focus();
  };
  if (recorder.state.value === 'recording') return <Recording recorder={recorder} />;
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="composer-words">
        <span class="visually-hidden">{chat.write}</span>
        <textarea
          ref={words}
          rows={1}
          placeholder={chat.write}
          maxLength={info.value?.max_text}
          value={text}
          disabled={isClosed}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            // Enter also chooses a word of an input method.
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
      </label>
      <div class="composer-row">
        <label class="button button-quiet button-icon">
          <Icon name="file" />
          <span class="visually-hidden">{chat.chooseFile}</span>
          <input
            class="visually-hidden"
            type="file"
            accept="audio/*,video/*"
            disabled={isClosed}
            onChange={(event) => {
              const file = event.currentTarget.files?.[0];
              event.currentTarget.value = '';
              if (file !== undefined) void talk.sayFile(file);
            }}
          />
        </label>
        {talk.isBusy.value || talk.voice.playing.value !== undefined ? (
          <Button icon="stop" onClick={() => talk.interrupt()}>
            {chat.stop}
          </Button>
        ) : (
          <span class="quiet composer-hint">{chat.spaceHint}</span>
        )}
        {text.trim() === '' ? (
          <Button look="main" icon="microphone" disabled={isClosed} onClick={onRecord}>
            {chat.speak}
          </Button>
        ) : (
          <Button look="main" icon="send" type="submit" disabled={isClosed}>
            {chat.send}
          </Button>
        )}
      </div>
    </form>
  );
}

function Recording({ recorder }: { recorder: Recorder }) {
  const { chat } = t();
  const seconds = Math.floor(recorder.seconds.value);
  const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return (
    <div class="composer is-recording" role="group" aria-label={chat.recordingNow}>
      <p class="recording-words">
        <span role="status">{chat.recordingNow}</span>
        <span class="recording-time">{time}</span>
      </p>
      <meter class="level" aria-label={chat.level} min={0} max={1} value={recorder.level.value} />
      <div class="composer-row">
        <Button look="quiet" onClick={() => recorder.cancel()}>
          {chat.discard}
        </Button>
        <FinishButton onFinish={() => recorder.finish()} />
      </div>
    </div>
  );
}

/** Has the focus as soon as it is there, so that the same key begins and ends a recording. */
function FinishButton({ onFinish }: { onFinish: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <button ref={button} type="button" class="button button-recording" onClick={onFinish}>
      <Icon name="stop" />
      {t().chat.finish}
    </button>
  );
}
