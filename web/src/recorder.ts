import { signal } from '@preact/signals';

export type RecorderState = 'idle' | 'asking' | 'recording';
export type RecorderProblem = 'denied' | 'missing' | 'insecure' | 'failed';

/** Kinds of recordings that browsers make, the best first. */
const kinds = ['audio/webm;codecs=opus', 'audio/mp4', 'audio/ogg;codecs=opus'];
const tickMs = 80;

/** The microphone: one recording at a time. */
export class Recorder {
  readonly state = signal<RecorderState>('idle');
  readonly problem = signal<RecorderProblem | undefined>();
  readonly seconds = signal(0);
  /** How loud it is now, 0 to 1. */
  readonly level = signal(0);
  #take: Take | undefined;

  /** Records until `finish` or `cancel`, at most `maxSeconds`; resolves with the recording. */
  async record(maxSeconds: number): Promise<Blob | undefined> {
    if (this.state.peek() !== 'idle') return undefined;
    this.problem.value = undefined;
    // Pages that came over plain HTTP from elsewhere are given no microphone.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (devices === undefined || typeof MediaRecorder === 'undefined') {
      this.problem.value = 'insecure';
      return undefined;
    }
    this.state.value = 'asking';
    try {
      const stream = await devices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true },
      });
      const take = new Take(stream, (level, seconds) => {
        this.level.value = level;
        this.seconds.value = seconds;
        if (seconds >= maxSeconds) this.finish();
      });
      this.#take = take;
      this.state.value = 'recording';
      return await take.done;
    } catch (error) {
      const { name } = error as DOMException;
      this.problem.value =
        name === 'NotAllowedError' ? 'denied' : name === 'NotFoundError' ? 'missing' : 'failed';
      return undefined;
    } finally {
      this.#take = undefined;
      this.level.value = 0;
      this.seconds.value = 0;
      this.state.value = 'idle';
    }
  }

  finish(): void {
    this.#take?.stop(true);
  }

  cancel(): void {
    this.#take?.stop(false);
  }
}

/** One recording, from its first sample to its last. */
class Take {
  readonly done: Promise<Blob | undefined>;
  readonly #recorder: MediaRecorder;
  #isWanted = true;

  constructor(stream: MediaStream, tell: (level: number, seconds: number) => void) {
    const mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
    const recorder = new MediaRecorder(stream, mimeType === undefined ? {} : { mimeType });
    this.#recorder = recorder;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Uint8Array(analyser.fftSize);
    const start = performance.now();
    const timer = setInterval(() => {
      analyser.getByteTimeDomainData(samples);
      const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one - 128)), 0) / 128;
      tell(peak, (performance.now() - start) / 1000);
    }, tickMs);
    const pieces: Blob[] = [];
    recorder.addEventListener('dataavailable', ({ data }) => pieces.push(data));
    this.done = new Promise((resolve) => {
      recorder.addEventListener('stop', () => {
        clearInterval(timer);
        for (const track of stream.getTracks()) track.stop();
        void context.close();
        resolve(this.#isWanted ? new Blob(pieces, { type: recorder.mimeType }) : undefined);
      });
    });
    recorder.start();
  }

  stop(isWanted: boolean): void {
    this.#isWanted = isWanted;
    if (this.#recorder.state !== 'inactive') this.#recorder.stop();
  }
}
