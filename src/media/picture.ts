import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { toolEnvironment } from '../config.js';
import { CodedError, type ErrorCode } from '../errors.js';
import { cancelled, confinementOf, lastLine, stderrTail, throwIfCancelled } from './process.js';

/** `pixels`: RGB, three bytes each; `png` or `jpeg`: a file without metadata. */
export type PictureFormat = 'pixels' | 'png' | 'jpeg';

/** Upright and in sRGB; of an animation the first frame. */
export interface Picture {
  readonly format: PictureFormat;
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export interface PictureRequest {
  /** A whole file of any type that is accepted. */
  readonly data: Uint8Array;
  /** Pixels, transparency over black; or a file without a side of more pixels than that. */
  readonly as: 'pixels' | { readonly side: number };
}

export interface PictureOptions {
  readonly signal?: AbortSignal | undefined;
  /** For the decoding of this picture. */
  readonly timeoutMs?: number | undefined;
}

export type PictureReply =
  'ready' | { readonly picture: Picture } | { readonly code: ErrorCode; readonly message: string };

const decodeMs = 30_000;
/** The program ends when it has had no work for so long. */
const idleMs = 60_000;
const memoryBytes = 2 * 1024 * 1024 * 1024;

/** A process that decodes one picture after the other; a picture that it cannot end is its last. */
class Decoder {
  readonly #child: ChildProcess;
  #stderr = '';
  #isReady = false;
  #idle: NodeJS.Timeout | undefined;
  #settle: ((outcome: Picture | Error) => void) | undefined;
  /** Whether it may be given another picture. */
  isAlive = true;

  constructor() {
    const [command, ...before] = [...confinementOf(memoryBytes), process.execPath];
    this.#child = fork(fileURLToPath(new URL('picture-process.js', import.meta.url)), [], {
      execPath: command,
      // options of this process are none of its
      execArgv: before,
      // libvips would write what is larger to a file of its own, which it may not
      env: { ...toolEnvironment(), VIPS_DISC_THRESHOLD: String(memoryBytes) },
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrTail);
    });
    this.#child.on('message', (reply: PictureReply) => this.#onReply(reply));
    this.#child.once('error', (error) => this.#end(toolFailed(error.message)));
    this.#child.once('exit', (code, signal) => {
      const how = `ended with ${signal ?? code}`;
      this.#end(this.#isReady ? unreadable(how) : toolFailed(`${how}: ${lastLine(this.#stderr)}`));
    });
    this.#rest();
  }

  async decode(
    request: PictureRequest,
    { signal, timeoutMs = decodeMs }: PictureOptions,
  ): Promise<Picture> {
    this.#work();
    const timer = setTimeout(() => {
      this.#end(unreadable(`had not finished after ${timeoutMs / 1000} s and was stopped`));
    }, timeoutMs);
    const onAbort = () => this.#end(cancelled());
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<Picture>((resolve, reject) => {
        this.#settle = (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
        // a child that is gone says so by its exit
        this.#child.send(request, () => undefined);
      });
    } finally {
      this.#settle = undefined;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#rest();
    }
  }

  #onReply(reply: PictureReply): void {
    if (reply === 'ready') this.#isReady = true;
    else if ('picture' in reply) this.#settle?.(reply.picture);
    else this.#settle?.(new CodedError(reply.code, reply.message));
  }

  #end(error: CodedError): void {
    this.isAlive = false;
    clearTimeout(this.#idle);
    this.#child.kill('SIGKILL');
    this.#settle?.(error);
  }

  /** Without work it does not keep this process alive. */
  #rest(): void {
    for (const one of this.#handles()) one?.unref();
    if (!this.isAlive) return;
    this.#idle = setTimeout(() => this.#end(cancelled()), idleMs).unref();
  }

  #work(): void {
    for (const one of this.#handles()) one?.ref();
    clearTimeout(this.#idle);
  }

  #handles() {
    return [this.#child, this.#child.channel, this.#child.stderr as Socket | null];
  }
}

function toolFailed(how: string): CodedError {
  return new CodedError('MEDIA_TOOL_FAILED', `the program that decodes pictures ${how}`);
}

function unreadable(how: string): CodedError {
  const text = `the picture cannot be decoded: the program that tried it ${how}`;
  return new CodedError('IMAGE_UNREADABLE', text);
}

let decoder: Decoder | undefined;
let last: Promise<unknown> = Promise.resolve();

/**
 * Decodes a picture in a process with limits. A picture may take hundreds of MB: they are read and
 * decoded one after the other. Throws what `read` does, IMAGE_UNREADABLE, IMAGE_TOO_SMALL,
 * IMAGE_TOO_LARGE, MEDIA_TOOL_FAILED and MEDIA_CANCELLED.
 */
export function decodePicture(
  read: () => Promise<Uint8Array>,
  as: PictureRequest['as'],
  options: PictureOptions = {},
): Promise<Picture> {
  const turn = last.then(async () => {
    throwIfCancelled(options.signal);
    const data = await read();
    throwIfCancelled(options.signal);
    if (decoder?.isAlive !== true) decoder = new Decoder();
    return decoder.decode({ data, as }, options);
  });
  last = turn.catch(() => undefined);
  return turn;
}
