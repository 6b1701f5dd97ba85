import { useEffect, useMemo, useState } from 'preact/hooks';
import { type Failure, describe, duration, failureOf } from '../failure.js';
import { SaveLink, useFile } from '../files.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Confirm } from '../parts/dialog.js';
import { Icon } from '../parts/icon.js';
import { Notice } from '../parts/notice.js';
import { Progress } from '../parts/progress.js';
import { secondsLeft } from '../remaining.js';
import { server } from '../server.js';
import { options, reuse } from './draft.js';
import { thumbnailUrl } from './files.js';
import { formId } from './form.js';
import { type Render, forget, isOver, markExpired } from './renders.js';
import { stageOf } from './stage.js';
import { clock, dateTime } from '../time.js';

/** One render: how far it is, its video, and what can be done with it. */
export function RenderCard({ render }: { render: Render }) {
  const { studio, common } = t();
  const [isRemoving, setRemoving] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const picture = useMemo(
    () => (render.thumbnail === undefined ? undefined : thumbnailUrl(render.thumbnail)),
    [render.thumbnail],
  );
  useEffect(() => () => picture && URL.revokeObjectURL(picture), [picture]);
  const time = new Date(render.createdAt);
  const title = studio.renderOf(render.portrait);
  const over = isOver(render);
  const cancel = async () => {
    try {
      await server.tasks.cancel(render.id);
    } catch (error) {
      setFailure(failureOf(error));
    }
  };
  const again = () => {
    reuse(render);
    const form = document.getElementById(formId);
    form?.scrollIntoView({ block: 'start' });
    form?.querySelector<HTMLElement>('button[type=submit]')?.focus();
  };
  const remove = async () => {
    setRemoving(false);
    const { id, videoId, isExpired } = render;
    if (!over) await server.tasks.cancel(id).catch(() => undefined);
    if (videoId !== undefined && !isExpired) {
      await server.deleteFile(videoId).catch(() => undefined);
    }
    forget(id);
    document.getElementById('studio-list')?.closest('section')?.querySelector('h2')?.focus();
  };
  return (
    <li
      id={`render-${render.id}`}
      class={`panel studio-card is-${render.status}`}
      tabIndex={-1}
      aria-label={title}
    >
      <div class="studio-card-head">
        {picture === undefined ? (
          <span class="studio-thumbnail">
            <Icon name="person" />
          </span>
        ) : (
          <img class="studio-thumbnail" src={picture} alt="" />
        )}
        <div class="studio-card-title">
          <h3>{render.portrait}</h3>
          <p class="quiet">
            {render.audio}
            {render.seconds !== undefined && ` · ${clock(render.seconds)}`}
          </p>
          <p class="quiet">
            <time dateTime={time.toISOString()}>{dateTime(render.createdAt)}</time>
          </p>
        </div>
      </div>
      <State render={render} poster={picture} />
      {failure && <Notice onClose={() => setFailure(undefined)}>{describe(failure)}</Notice>}
      <SettingsOf render={render} />
      <div class="row studio-actions">
        {render.status === 'completed' && !render.isExpired && render.videoId && (
          <SaveLink
            url={server.fileUrl(render.videoId)}
            name={`${baseOf(render.portrait)}.mp4`}
            look="main"
          >
            {studio.download}
          </SaveLink>
        )}
        {over ? (
          <Button onClick={again}>{studio.again}</Button>
        ) : (
          <Button onClick={() => void cancel()}>{common.cancel}</Button>
        )}
        <Button
          aria-label={`${studio.remove}: ${title}`}
          look="quiet"
          icon="bin"
          onClick={() => setRemoving(true)}
        >
          {studio.remove}
        </Button>
      </div>
      {isRemoving && (
        <Confirm
          title={studio.removeTitle}
          action={studio.remove}
          onConfirm={() => void remove()}
          onClose={() => setRemoving(false)}
        >
          {over ? studio.removeHint : studio.removeRunningHint}
        </Confirm>
      )}
    </li>
  );
}

const baseOf = (name: string) => name.replace(/\.[^.]+$/, '') || 'video';

function State({ render, poster }: { render: Render; poster: string | undefined }) {
  const { studio } = t();
  const stage = stageOf(render);
  const { status, videoId } = render;
  if (status === 'completed' && videoId !== undefined && !render.isExpired) {
    return <Video render={render} videoId={videoId} poster={poster} />;
  }
  if (!isOver(render)) {
    const left = status === 'inference' ? secondsLeft(render) : undefined;
    const value = status === 'queued' ? undefined : render.percentage;
    const percent = value === undefined ? undefined : `${Math.round(value)} %`;
    const detail = left === undefined ? percent : `${percent} · ${studio.left(duration(left))}`;
    return <Progress label={stage} detail={detail} value={value} />;
  }
  const isFailure = status === 'failed' && render.code !== 'TASK_CANCELLED';
  return (
    <p class={isFailure ? 'studio-failure' : 'quiet'}>
      {isFailure && <Icon name="warning" />}
      <span>{stage}</span>
    </p>
  );
}

function Video({
  render,
  videoId,
  poster,
}: {
  render: Render;
  videoId: string;
  poster: string | undefined;
}) {
  const { studio } = t();
  const [isBroken, setBroken] = useState(false);
  const hours = options.value?.limits.file_hours;
  const url = server.fileUrl(videoId);
  const { source, isMissing } = useFile(url);
  const look = async () => {
    const code = await server.download(url, { range: 'bytes=0-0' }).then(
      () => undefined,
      (error: unknown) => failureOf(error).code,
    );
    if (code === 'FILE_NOT_FOUND') markExpired(render.id);
    else if (code !== 'UNAUTHORIZED') setBroken(true);
  };
  useEffect(() => {
    if (isMissing) void look();
  }, [isMissing]);
  return (
    <>
      <video
        class="studio-video"
        controls
        playsInline
        preload="metadata"
        poster={poster}
        src={source}
        aria-label={studio.renderOf(render.portrait)}
        onError={() => void look()}
      />
      {isBroken && <p class="problem">{studio.cannotPlay}</p>}
      {hours !== undefined && (
        <p class="hint">{studio.keptUntil(dateTime(render.createdAt + hours * 3_600_000))}</p>
      )}
    </>
  );
}

function SettingsOf({ render }: { render: Render }) {
  const { studio } = t();
  const [isCopied, setCopied] = useState(false);
  const { steps, cfg, seed, size, frames_num: frames } = render.settings;
  const rows: [string, string | number][] = [
    [studio.steps, steps ?? studio.ofModel],
    [studio.guidance, cfg ?? studio.ofModel],
    [studio.seed, seed ?? ''],
    [studio.size, size ?? studio.ofModel],
    [studio.frames, frames ?? studio.all],
  ];
  const copy = async () => {
    setCopied(await copied(JSON.stringify(render.settings)));
  };
  return (
    <details class="studio-used">
      <summary>{studio.settings}</summary>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="row">
        <Button onClick={() => void copy()}>{studio.copy}</Button>
        <span role="status">{isCopied && studio.copied}</span>
      </div>
    </details>
  );
}

/** Puts a text on the clipboard; pages that came over plain HTTP from elsewhere have to ask as of old. */
async function copied(text: string): Promise<boolean> {
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (clipboard !== undefined) {
    return await clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  return isDone;
}
