import { signal } from '@preact/signals';
import { localUrl } from '../server.js';

/** Plays the sentences of a reply one after the other. */
export class Voice {
  /** Address of what is heard now. */
  readonly playing = signal<string | undefined>();
  /** The browser wants a click before it plays anything. */
  readonly isBlocked = signal(false);
  /** Seconds that each sentence lasts, as far as it has been loaded. */
  readonly seconds = signal<Readonly<Record<string, number>>>({});
  readonly #queue: HTMLAudioElement[] = [];

  /** Without `isHeard` only how long it lasts is looked at. */
  add(url: string, isHeard = true): void {
    const audio = new Audio(localUrl(url));
    audio.preload = 'auto';
    audio.dataset['url'] = url;
    audio.addEventListener('loadedmetadata', () => {
      if (Number.isFinite(audio.duration))
        this.seconds.value = { ...this.seconds.peek(), [url]: audio.duration };
    });
    if (!isHeard) return;
    const over = () => {
      if (this.#queue[0] !== audio) return;
      this.#queue.shift();
      this.#next();
    };
    audio.addEventListener('ended', over);
    // A sentence that cannot be fetched any more is left out.
    audio.addEventListener('error', over);
    this.#queue.push(audio);
    if (this.#queue.length === 1) this.#next();
  }

  /** After a click, what the browser had refused. */
  allow(): void {
    this.isBlocked.value = false;
    this.#next();
  }

  stop(): void {
    for (const audio of this.#queue.splice(0)) audio.pause();
    this.isBlocked.value = false;
    this.playing.value = undefined;
  }

  #next(): void {
    const audio = this.#queue[0];
    this.playing.value = audio?.dataset['url'];
    audio?.play().catch((error: unknown) => {
      if ((error as DOMException).name !== 'NotAllowedError' || this.#queue[0] !== audio) return;
      this.isBlocked.value = true;
      this.playing.value = undefined;
    });
  }
}
