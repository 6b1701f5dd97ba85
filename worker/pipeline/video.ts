import { CodedError } from '../../src/errors.js';
import type { RenderResult } from '../../native/index.js';
import { decodeAudio } from '../../src/media/audio.js';
import { leastSize, mostSize, sizeStep } from '../../src/queue/device.js';
import { type Mark, type VideoEncoder, openVideo, preparePortrait } from '../media/index.js';
import type { ClipEngine } from './engine.js';

export interface VideoRequest {
  readonly imagePath: string;
  readonly audioPath: string;
  readonly outPath: string;
  /** What is left out follows the loaded weights. */
  readonly steps?: number | undefined;
  readonly cfg?: number | undefined;
  readonly seed?: number | undefined;
  /** At most so many frames; otherwise the clip is as long as the audio. */
  readonly frames?: number | undefined;
  readonly size?: number | undefined;
  readonly maxAudioSeconds?: number | undefined;
  readonly encoder?: VideoEncoder | undefined;
  readonly mark?: Mark | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onStage?: ((stage: VideoStage, percent: number, message: string) => void) | undefined;
}

/** In this order; `percent` is that of the stage. */
export type VideoStage = 'face_detecting' | 'inference' | 'merging_audio';

export interface VideoResult extends RenderResult {
  readonly seconds: number;
  readonly face: boolean;
  readonly milliseconds: { prepare: number; render: number; finish: number };
}

const sampleRate = 16_000;

/** One portrait and one recording become one MP4: what a task and `npm run render` both do. */
export async function makeVideo(
  engine: Pick<ClipEngine, 'info' | 'render' | 'simulated'>,
  request: VideoRequest,
): Promise<VideoResult> {
  const { imagePath, audioPath, outPath, signal, onStage } = request;
  const { defaults } = engine.info();
  const size = request.size ?? defaults.width;
  if (!Number.isInteger(size) || size < leastSize || size > mostSize || size % sizeStep !== 0) {
    throw new CodedError(
      'ENGINE_OPTION_INVALID',
      `size: must be a multiple of ${sizeStep} from ${leastSize} to ${mostSize}, received ${size}`,
    );
  }
  const start = performance.now();
  onStage?.('face_detecting', 0, 'reading the picture and the sound');
  const audio = await decodeAudio(audioPath, { signal, maxSeconds: request.maxAudioSeconds });
  const { simulated = false } = engine;
  onStage?.('face_detecting', 40, simulated ? 'cutting the picture' : 'looking for the face');
  const portrait = await preparePortrait(imagePath, { size, findFace: !simulated, signal });
  const noFace = simulated ? 'simulated: no face was looked for' : 'no face was found';
  const message =
    portrait.face === null ? `${noFace}; the whole picture is used` : 'found the face';
  onStage?.('face_detecting', 100, message);

  const prepared = performance.now();
  const audioSeconds = audio.length / sampleRate;
  const { fps } = defaults;
  const video = await openVideo({
    path: outPath,
    width: size,
    height: size,
    fps,
    audioPath,
    audioSeconds,
    seconds: request.frames === undefined ? undefined : request.frames / fps,
    simulated,
    encoder: request.encoder,
    mark: request.mark,
    signal,
  });
  try {
    onStage?.('inference', 0, 'rendering');
    const result = await engine.render(
      {
        image: portrait.image,
        faceMask: portrait.faceMask,
        audio,
        ...(request.steps === undefined ? {} : { steps: request.steps }),
        ...(request.cfg === undefined ? {} : { cfg: request.cfg }),
        ...(request.seed === undefined ? {} : { seed: request.seed }),
        frames: video.frames,
      },
      {
        onFrames: ({ data }) => video.write(data),
        onProgress: (progress) => onStage?.('inference', progress.percent, describe(progress)),
        signal,
      },
    );
    const rendered = performance.now();
    onStage?.('merging_audio', 0, 'joining picture and sound');
    await video.finish();
    onStage?.('merging_audio', 100, 'joined picture and sound');
    return {
      ...result,
      frames: video.frames,
      seconds: video.frames / fps,
      face: portrait.face !== null,
      milliseconds: {
        prepare: prepared - start,
        render: rendered - prepared,
        finish: performance.now() - rendered,
      },
    };
  } catch (error) {
    await video.abort();
    throw error;
  }
}

function describe(progress: {
  stage: string;
  step: number;
  steps: number;
  framesDone: number;
  frames: number;
}): string {
  if (progress.stage === 'denoise') return `step ${progress.step} of ${progress.steps}`;
  if (progress.stage === 'decode') return `frame ${progress.framesDone} of ${progress.frames}`;
  return progress.stage === 'audio' ? 'listening to the sound' : 'studying the portrait';
}
