import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { locale, t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Icon } from '../parts/icon.js';
import { Picture, useFile } from '../files.js';
import { captionsOf } from './captions.js';
import type { Reply } from './entries.js';
import type { Recorder } from '../recorder.js';
import { type Talk, leave } from './talk.js';

type Mood = 'waiting' | 'listening' | 'thinking' | 'speaking' | 'rendering' | 'away';

function moodOf(talk: Talk, recorder: Recorder): Mood {
  if (talk.line.value.state !== 'open') return 'away';
  if (recorder.state.value === 'recording') return 'listening';
  if (talk.voice.playing.value !== undefined) return 'speaking';
  if (!talk.isBusy.value) return 'waiting';
  const rendering = talk.entries.value.some((one) => one.kind === 'reply' && one.render);
  return rendering ? 'rendering' : 'thinking';
}

/** The portrait, or the video in its place, and who it is. */
export function Stage({
  talk,
  recorder,
  heading,
}: {
  talk: Talk;
  recorder: Recorder;
  heading: RefObject<HTMLHeadingElement | null>;
}) {
  const { chat } = t();
  const { name, imageUrl } = talk.setup;
  const mood = moodOf(talk, recorder);
  const shown = talk.entries.value.find(
    (one): one is Reply => one.kind === 'reply' && one.turn === talk.shown.value,
  );
  return (
    <section class="stage" aria-label={chat.portrait}>
      <div class={`portrait is-${mood}`}>
        {shown?.videoUrl !== undefined ? (
          <Video talk={talk} reply={shown} url={shown.videoUrl} key={shown.videoUrl} />
        ) : imageUrl === '' ? (
          <span class="portrait-blank">
            <Icon name="person" />
          </span>
        ) : (
          <Picture url={imageUrl} alt={chat.portraitOf(name)} />
        )}
        {mood !== 'waiting' && shown === undefined && (
          <p class="mood">
            <Bars />
            {chat.moods[mood]}
          </p>
        )}
      </div>
      <div class="stage-foot">
        <h1 ref={heading} tabIndex={-1}>
          {name}
        </h1>
        {talk.voice.isBlocked.value && (
          <Button look="main" icon="play" onClick={() => talk.voice.allow()}>
            {chat.allowSound}
          </Button>
        )}
        <Button onClick={leave}>{chat.end}</Button>
      </div>
    </section>
  );
}

function Bars() {
  return (
    <span class="bars" aria-hidden="true">
      <i />
      <i />
      <i />
      <i />
    </span>
  );
}

/** Plays at once, with captions of what is said. */
function Video({ talk, reply, url }: { talk: Talk; reply: Reply; url: string }) {
  const video = useRef<HTMLVideoElement>(null);
  const [captions, setCaptions] = useState<string>();
  const { source } = useFile(url);
  const { source: poster } = useFile(talk.setup.imageUrl);
  const text = captionsOf(reply.sentences, talk.voice.seconds.value);
  useEffect(() => {
    if (text === undefined) return;
    const made = URL.createObjectURL(new Blob([text], { type: 'text/vtt' }));
    setCaptions(made);
    return () => URL.revokeObjectURL(made);
  }, [text]);
  useEffect(() => {
    // A browser that wants a click first has its own button for it.
    if (source !== undefined) video.current?.play().catch(() => undefined);
  }, [source]);
  return (
    <video
      ref={video}
      src={source}
      poster={poster}
      controls
      playsInline
      aria-label={t().chat.videoOf(talk.setup.name)}
    >
      {captions !== undefined && (
        <track key={captions} kind="captions" src={captions} srcLang={locale.value} default />
      )}
    </video>
  );
}
