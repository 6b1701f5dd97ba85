import { useEffect, useRef } from 'preact/hooks';
import { describe, duration } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Notice } from '../parts/notice.js';
import { Progress } from '../parts/progress.js';
import { SaveLink } from '../files.js';
import type { Render, Reply, Said } from './entries.js';
import { textOf } from './entries.js';
import { secondsLeft } from '../remaining.js';
import type { Talk } from './talk.js';

/** How near to the end one has to be to be kept there. */
const nearPixels = 120;

/** What was said, the newest at the end. */
export function Messages({ talk }: { talk: Talk }) {
  const { chat } = t();
  const log = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const entries = talk.entries.value;
  const toEnd = () => {
    if (isAtEnd.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  };
  const last = entries.at(-1);
  const lastSaid = last?.kind === 'said' ? last.id : undefined;
  useEffect(() => {
    // One's own words are shown wherever one was.
    isAtEnd.current = true;
    toEnd();
  }, [lastSaid]);
  useEffect(toEnd, [entries]);
  useEffect(() => {
    // A video takes room from what is said.
    const observer = new ResizeObserver(toEnd);
    if (log.current !== null) observer.observe(log.current);
    return () => observer.disconnect();
  }, []);
  return (
    <>
      <Spoken talk={talk} />
      <div
        ref={log}
        class="messages"
        role="log"
        aria-label={chat.said}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
          isAtEnd.current = scrollHeight - scrollTop - clientHeight < nearPixels;
        }}
      >
        {entries.length === 0 && (
          <p class="opening">{talk.setup.greeting ?? chat.opening(talk.setup.name)}</p>
        )}
        {entries.map((entry) =>
          entry.kind === 'said' ? (
            <SaidBubble key={entry.id} said={entry} talk={talk} />
          ) : (
            <ReplyBubble key={entry.id} reply={entry} talk={talk} />
          ),
        )}
      </div>
    </>
  );
}

/** Read out where nothing new is written: the stages of a video, and its end. */
function Spoken({ talk }: { talk: Talk }) {
  const { chat } = t();
  const last = talk.entries.value.findLast((entry) => entry.kind === 'reply');
  const text =
    last?.render !== undefined ? stageOf(last.render) : last?.videoUrl && chat.videoReady;
  return (
    <p class="visually-hidden" role="status">
      {text}
    </p>
  );
}

function stageOf({ status, position }: Render): string {
  const { chat } = t();
  if (status === 'queued' && position !== undefined) return chat.queued(position);
  return (chat.stages as Record<string, string>)[status] ?? chat.stages.processing;
}

function SaidBubble({ said, talk }: { said: Said; talk: Talk }) {
  const { chat, common } = t();
  const { id, how, text, name, audioUrl, state, sent, failure } = said;
  const words = text || (state === 'heard' || state === 'failed' ? (name ?? chat.recording) : '');
  return (
    <article class="said">
      <h2 class="visually-hidden">{chat.you}</h2>
      {words && <p>{words}</p>}
      {!words && sent === undefined && <p class="quiet">{chat.recognising}</p>}
      {sent !== undefined && <Progress label={chat.uploading} value={sent} />}
      {how === 'speech' && audioUrl !== undefined && (
        <Button look="quiet" icon="play" onClick={() => talk.hear([audioUrl])}>
          {chat.hearRecording}
        </Button>
      )}
      {state === 'failed' && (
        <Notice
          actions={
            how === 'text' && (
              <Button onClick={() => talk.sayAgain(id, text)}>{common.tryAgain}</Button>
            )
          }
        >
          {failure === undefined ? chat.notAnswered : describe(failure)}
        </Notice>
      )}
    </article>
  );
}

function ReplyBubble({ reply, talk }: { reply: Reply; talk: Talk }) {
  const { chat } = t();
  const { sentences, render, videoUrl, state, failure, turn } = reply;
  const urls = sentences.flatMap(({ audioUrl }) => audioUrl ?? []);
  const playing = talk.voice.playing.value;
  const isWordless = sentences.length > 0 && textOf(reply) === '';
  return (
    <article class="reply">
      <h2 class="visually-hidden">{talk.setup.name}</h2>
      {sentences.length === 0 && state === 'open' && <p class="quiet">{chat.moods.thinking}</p>}
      {isWordless && <p>{chat.wordless}</p>}
      {!isWordless && sentences.length > 0 && (
        <p>
          {sentences.map(({ text, audioUrl }, i) => (
            <span key={i} class={playing !== undefined && audioUrl === playing ? 'is-spoken' : ''}>
              {text}{' '}
            </span>
          ))}
        </p>
      )}
      {render !== undefined && <RenderProgress render={render} />}
      {(urls.length > 0 || videoUrl !== undefined) && (
        <div class="row">
          {urls.length > 0 && (
            <Button look="quiet" icon="play" onClick={() => talk.hear(urls)}>
              {chat.hearAgain}
            </Button>
          )}
          {videoUrl !== undefined && (
            <>
              <Button look="quiet" icon="film" onClick={() => talk.show(turn)}>
                {chat.showVideo}
              </Button>
              <SaveLink url={videoUrl} look="quiet">
                {chat.download}
              </SaveLink>
            </>
          )}
        </div>
      )}
      {state === 'cut' && <p class="quiet">{chat.cut}</p>}
      {failure !== undefined && <Notice>{describe(failure)}</Notice>}
    </article>
  );
}

/** Where the video stands; not each percent is read out. */
function RenderProgress({ render }: { render: Render }) {
  const { chat } = t();
  const { status, percentage } = render;
  const left = secondsLeft(render);
  return (
    <div aria-live="off">
      <Progress
        label={stageOf(render)}
        value={status === 'queued' ? undefined : percentage}
        detail={
          status === 'queued'
            ? undefined
            : `${Math.floor(percentage)} %${left === undefined ? '' : ` · ${chat.left(duration(left))}`}`
        }
      />
    </div>
  );
}
