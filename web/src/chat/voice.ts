import { signal } from '@preact/signals';
import { withFile } from '../files.js';

interface Sound {
  readonly url: string;
  readonly audio: HTMLAudioElement;
  isThere: boolean;
  letGo: () => void;
}

/** Plays the sentences of a reply one after the other. */
export class Voice {
  /** Address of what is heard now. */
  readonly playing = signal<string | undefined>();
  /** The browser wants a click before it plays anything. */
  readonly isBlocked = signal(false);
  /** Seconds that each sentence lasts, as far as it has been loaded. */
  readonly seconds = signal<Readonly<Record<string, number>>>({});
  readonly #queue: Sound[] = [];

  /** Without `isHeard` only how long it lasts is looked at. */
  add(url: string, isHeard = true): void {
    const audio = new Audio();
    const sound: Sound = { url, audio, isThere: false, letGo: () => undefined };
    const over = () => {
      sound.letGo();
      if (this.#queue[0] !== sound) return;
      this.#queue.shift();
      this.#next();
    };
    audio.preload = 'auto';
    audio.addEventListener('loadedmetadata', () => {
      if (Number.isFinite(audio.duration))
        this.seconds.value = { ...this.seconds.peek(), [url]: audio.duration };
      if (!isHeard) over();
    });
    audio.addEventListener('ended', over);
    // A sentence that cannot be fetched any more is left out.
    audio.addEventListener('error', over);
    if (isHeard) this.#queue.push(sound);
    sound.letGo = withFile(url, (source) => {
      if (source === undefined) return over();
      audio.src = source;
      sound.isThere = true;
      if (this.#queue[0] === sound) this.#next();
    });
  }

  /** After a click, what the browser had refused. */
  allow(): void {
    this.isBlocked.value = false;
    this.#next();
  }

  stop(): void {
    for (const { audio, letGo } of this.#queue.splice(0)) {
      audio.pause();
      letGo();
    }
    this.isBlocked.value = false;
    this.playing.value = undefined;
  }

  #next(): void {
    const sound = this.#queue[0];
    this.playing.value = sound?.url;
    // One that is not there yet is played when it has come.
    if (sound?.isThere !== true) return;
    sound.audio.play().catch((error: unknown) => {
      if ((error as DOMException).name !== 'NotAllowedError' || this.#queue[0] !== sound) return;
      this.isBlocked.value = true;
      this.playing.value = undefined;
    });
  }
}
