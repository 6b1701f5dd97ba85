import { useEffect, useRef, useState } from 'preact/hooks';
import { askLogin, isLoginFailure } from '../account/login.js';
import { describe, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Notice } from '../parts/notice.js';
import { info } from '../server.js';
import { Composer } from './composer.js';
import { Messages } from './messages.js';
import { Recorder } from '../recorder.js';
import { Stage } from './stage.js';
import { type Talk, begin, leave } from './talk.js';

const recordingSeconds = 600;
/** What a space typed there is meant for. */
const typing = 'input, textarea, select, button, a, video, audio, summary, [role=log]';

/** The portrait, what is said, and where to say something. */
export function Conversation({ talk }: { talk: Talk }) {
  const [recorder] = useState(() => new Recorder());
  const [isDropping, setDropping] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
    return () => recorder.cancel();
  }, []);
  useEffect(() => {
    document.title = `${talk.setup.name} · ${t().common.brand}`;
  });

  const record = async () => {
    if (talk.line.peek().state === 'closed') return;
    // Who begins to speak wants to be heard.
    talk.interrupt();
    const recording = await recorder.record(info.value?.max_audio_seconds ?? recordingSeconds);
    if (recording !== undefined) await talk.sayFile(recording);
  };
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const { key, target, ctrlKey, altKey, metaKey, repeat, isComposing } = event;
      // There it closes a window, or leaves an input method.
      const isTaken = isComposing || document.querySelector('dialog[open], :popover-open') !== null;
      if (key === 'Escape' && !isTaken) {
        if (recorder.state.peek() === 'recording') recorder.cancel();
        else talk.interrupt();
      }
      if (key !== ' ' || repeat || ctrlKey || altKey || metaKey) return;
      if (target instanceof Element && target.closest(typing) !== null) return;
      event.preventDefault();
      if (recorder.state.peek() === 'recording') recorder.finish();
      else void record();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  const { chat } = t();
  return (
    <div
      class={`talk${isDropping ? ' is-dropping' : ''}`}
      onDragOver={(event) => {
        if (event.dataTransfer?.types.includes('Files') !== true) return;
        event.preventDefault();
        setDropping(true);
      }}
      onDragLeave={() => setDropping(false)}
      onDrop={(event) => {
        event.preventDefault();
        setDropping(false);
        const file = event.dataTransfer?.files[0];
        if (file !== undefined) void talk.sayFile(file);
      }}
    >
      <Stage talk={talk} recorder={recorder} heading={heading} />
      <section class="chat" aria-label={chat.said}>
        <Messages talk={talk} />
        <Line talk={talk} />
        {recorder.problem.value && (
          <Notice onClose={() => (recorder.problem.value = undefined)}>
            {chat.microphone[recorder.problem.value]}
          </Notice>
        )}
        <Composer talk={talk} recorder={recorder} onRecord={() => void record()} />
      </section>
    </div>
  );
}

/** What is wrong with the line, or with nothing in particular. */
function Line({ talk }: { talk: Talk }) {
  const { chat } = t();
  const { state, why } = talk.line.value;
  const failure = talk.failure.value;
  if (state === 'reconnecting' || state === 'connecting') {
    const reason = why !== undefined && why.code !== 'OFFLINE' ? ` ${describe(why)}` : '';
    return <Notice kind="info">{chat.reconnecting + reason}</Notice>;
  }
  if (state === 'closed') {
    const again = async () => {
      if (failure !== undefined && isLoginFailure(failure) && !(await askLogin())) return;
      await begin(talk.setup).catch((error: unknown) => (talk.failure.value = failureOf(error)));
    };
    return (
      <Notice
        actions={
          <span class="row">
            <Button look="main" onClick={() => void again()}>
              {chat.beginAgain}
            </Button>
            <Button onClick={leave}>{chat.chooseAnother}</Button>
          </span>
        }
      >
        {failure === undefined ? chat.ended : describe(failure)}
      </Notice>
    );
  }
  if (failure === undefined) return null;
  return <Notice onClose={() => (talk.failure.value = undefined)}>{describe(failure)}</Notice>;
}
