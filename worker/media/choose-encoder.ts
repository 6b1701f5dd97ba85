import type { Config } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { lastLine, runTool } from '../../src/media/process.js';
import { type VideoEncoder, videoArguments } from './encoder.js';

const trialMs = 60_000;
const trialFrames = 8;

export interface EncoderWish {
  readonly wanted: Config['videoEncoder'];
  /** The worker's device: its own GPU encodes. */
  readonly device: string;
  /** Of the frames to come: hardware encoders refuse small ones. */
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

const gpuOf = (device: string): number | undefined => {
  const index = /^cuda:(\d+)$/.exec(device)?.[1];
  return index === undefined ? undefined : Number(index);
};

/** Encodes a few frames as a clip's would be; undefined when that works, else ffmpeg's reason. */
async function trial(encoder: VideoEncoder, wish: EncoderWish): Promise<string | undefined> {
  const { width, height, fps } = wish;
  try {
    const { code, stderr } = await runTool(
      'ffmpeg',
      [
        ...['-hide_banner', '-nostdin', '-loglevel', 'error'],
        ...['-f', 'lavfi', '-i', `testsrc=size=${width}x${height}:rate=${fps},format=rgb24`],
        ...['-frames:v', String(trialFrames), ...videoArguments(encoder, fps), '-f', 'null', '-'],
      ],
      { timeoutMs: trialMs, maxOutputBytes: 0 },
    );
    return code === 0 ? undefined : reasonIn(stderr);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'MEDIA_TOOL_MISSING') throw error;
    return (error as Error).message;
  }
}

/** The encoder's own words; what ffmpeg says after them is the same for every failure. */
function reasonIn(stderr: string): string {
  const own = stderr.split('\n').filter((line) => line.startsWith('[h264_nvenc'));
  const words = own.map((line) => line.replace(/^\[.*?\] /, '').trim());
  return words.length > 0 ? lastLine(words.join('; ')) : lastLine(stderr);
}

/**
 * The encoder that a worker uses for all its videos, decided by trying it: whether ffmpeg knows
 * NVENC tells neither whether the driver's library is there, nor whether this GPU has an encoder.
 * Rejects with VIDEO_ENCODER_UNAVAILABLE when NVENC was demanded and does not work.
 */
export async function chooseEncoder(wish: EncoderWish, log: Log): Promise<VideoEncoder> {
  const { wanted, device, width, height } = wish;
  const gpu = gpuOf(device);
  if (wanted === 'x264' || (wanted === 'auto' && gpu === undefined)) return { name: 'x264' };
  const nvenc: VideoEncoder = gpu === undefined ? { name: 'nvenc' } : { name: 'nvenc', gpu };
  const reason = await trial(nvenc, wish);
  if (reason === undefined) {
    log.info({ device, width, height }, 'videos are encoded by NVENC');
    return nvenc;
  }
  if (wanted === 'nvenc') {
    throw new CodedError(
      'VIDEO_ENCODER_UNAVAILABLE',
      `VIDEO_ENCODER=nvenc: NVENC did not encode ${width}x${height} on ${device}: ${reason}; ` +
        'set VIDEO_ENCODER=auto or x264, or install a driver and an ffmpeg that have it for this GPU',
    );
  }
  log.info(
    { device, width, height, reason },
    'NVENC does not work here: videos are encoded by x264',
  );
  return { name: 'x264' };
}
