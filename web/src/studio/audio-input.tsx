import { useMemo } from 'preact/hooks';
import { useFile } from '../files.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { FileDrop } from '../parts/file-drop.js';
import { Recorder } from '../recorder.js';
import { audio, options, problems, takeAudio } from './draft.js';
import { explain } from './files.js';
import { clock } from '../time.js';

/** A recording is made no longer than anybody wants to wait for. */
const mostSeconds = 120;

export function AudioInput() {
  const { studio } = t();
  const recorder = useMemo(() => new Recorder(), []);
  const chosen = audio.value;
  const problem = problems.value.audio;
  const isRecording = recorder.state.value === 'recording';
  const record = async () => {
    const most = Math.min(mostSeconds, options.value?.limits.audio_seconds ?? mostSeconds);
    const start = performance.now();
    const recording = await recorder.record(most);
    if (recording === undefined) return;
    const seconds = Math.min(most, (performance.now() - start) / 1000);
    await takeAudio(recording, studio.recordingName(new Date()), seconds);
  };
  return (
    <section class="stack-tight" aria-labelledby="studio-audio">
      <h2 id="studio-audio">{studio.audio}</h2>
      {chosen && (
        <div class="studio-audio">
          <p>
            {chosen.name}
            {chosen.seconds !== undefined && <span class="quiet"> · {clock(chosen.seconds)}</span>}
          </p>
          <Sound url={chosen.url} name={chosen.name} />
        </div>
      )}
      {isRecording ? (
        <div class="studio-recording" role="group" aria-label={studio.recordingNow}>
          <span class="studio-dot" aria-hidden="true" />
          <span class="studio-clock">{clock(recorder.seconds.value)}</span>
          <meter min={0} max={1} value={recorder.level.value} aria-label={studio.level} />
          <Button look="main" icon="stop" onClick={() => recorder.finish()}>
            {studio.stopRecording}
          </Button>
          <Button look="quiet" icon="close" isIconOnly onClick={() => recorder.cancel()}>
            {studio.discard}
          </Button>
        </div>
      ) : (
        <>
          <FileDrop
            label={chosen === undefined ? studio.chooseAudio : studio.anotherAudio}
            {...(chosen === undefined ? { hint: studio.audioHint } : {})}
            accept="audio/*,video/*"
            onFile={(file) => void takeAudio(file, file.name)}
          />
          <Button
            icon="microphone"
            disabled={recorder.state.value !== 'idle'}
            onClick={() => void record()}
          >
            {studio.record}
          </Button>
        </>
      )}
      {recorder.problem.value && (
        <p class="problem" role="alert">
          {studio.microphone[recorder.problem.value]}
        </p>
      )}
      {problem && (
        <p class="problem" role="alert">
          {explain(problem)}
        </p>
      )}
    </section>
  );
}

function Sound({ url, name }: { url: string; name: string }) {
  return <audio controls preload="metadata" src={useFile(url).source} aria-label={name} />;
}
