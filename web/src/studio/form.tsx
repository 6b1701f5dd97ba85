import { useRef } from 'preact/hooks';
import { describe } from '../failure.js';
import { Picture } from '../files.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { FileDrop } from '../parts/file-drop.js';
import { Notice } from '../parts/notice.js';
import { Progress } from '../parts/progress.js';
import { AudioInput } from './audio-input.js';
import {
  cancelSending,
  failure,
  hasFiles,
  isReady,
  portrait,
  problems,
  render,
  sending,
  takePortrait,
} from './draft.js';
import { explain } from './files.js';
import { SettingFields } from './settings.js';

export const formId = 'studio-form';

/** What shall be rendered. */
export function DraftForm() {
  const { studio, common } = t();
  const form = useRef<HTMLFormElement>(null);
  const { value: way } = sending;
  const submit = async () => {
    const made = await render();
    if (made !== undefined) document.getElementById(`render-${made}`)?.focus();
  };
  return (
    <form
      ref={form}
      id={formId}
      class="panel stack studio-form"
      aria-label={studio.newVideo}
      onSubmit={(event) => {
        event.preventDefault();
        if (isReady.value) void submit();
      }}
    >
      <PortraitInput />
      <AudioInput />
      <SettingFields />
      {failure.value && (
        <Notice onClose={() => (failure.value = undefined)}>{describe(failure.value)}</Notice>
      )}
      {way === undefined ? (
        <>
          <Button look="main" icon="film" type="submit" disabled={!isReady.value}>
            {studio.render}
          </Button>
          <p class="hint">
            {isReady.value ? studio.consent : hasFiles.value ? studio.checkSettings : studio.needed}
          </p>
        </>
      ) : (
        <div class="studio-sending">
          <Progress
            label={studio.sending[way.what]}
            detail={way.percentage === undefined ? undefined : `${Math.round(way.percentage)} %`}
            value={way.percentage}
          />
          <Button onClick={cancelSending}>{common.cancel}</Button>
        </div>
      )}
    </form>
  );
}

function PortraitInput() {
  const { studio } = t();
  const chosen = portrait.value;
  const problem = problems.value.portrait;
  return (
    <section class="stack-tight" aria-labelledby="studio-portrait">
      <h2 id="studio-portrait">{studio.portrait}</h2>
      <FileDrop
        label={chosen === undefined ? studio.choosePortrait : studio.anotherPortrait}
        {...(chosen === undefined ? { hint: studio.portraitHint } : {})}
        accept="image/png,image/jpeg,image/webp,image/gif"
        onFile={(file) => void takePortrait(file)}
      >
        {chosen && (
          <Picture class="studio-portrait" url={chosen.url} alt={studio.preview(chosen.name)} />
        )}
      </FileDrop>
      {problem && (
        <p class="problem" role="alert">
          {explain(problem)}
        </p>
      )}
    </section>
  );
}
