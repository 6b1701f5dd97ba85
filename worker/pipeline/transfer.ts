import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { piecesUntil, timeLimit } from '../../src/abort.js';
import type { Config } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import { workerKeyHeader } from '../../src/queue/keys.js';

/** How long the answer to an upload is waited for that nobody wants any more. */
const answerMs = 5_000;
const uploadAnswer = Type.Object({ success: Type.Literal(true), file_id: Type.String() });

export interface DownloadOptions {
  /** What the file is for, in messages: "ref_image_id" or "audio_id". */
  readonly role: string;
  readonly maxBytes: number;
  /** Accepted beginnings of the media type that the server tells. */
  readonly types: readonly string[];
}

/** Also of a file that is not for this task: nobody learns that it is there. */
export function fileNotFound(role: string, id: string): CodedError {
  return new CodedError(
    'TASK_FILE_NOT_FOUND',
    `${role}: there is no file ${id}, or it has expired`,
  );
}

/** What the API is told of who asks. */
export interface Origin {
  readonly workerKey?: string | undefined;
  /** Of the span that a request is part of. */
  readonly traceparent?: () => string | undefined;
}

/** The temp-file API as a worker uses it; waits out an API that restarts. */
export class Transfers {
  readonly #config: Config;
  readonly #signal: AbortSignal;
  readonly #origin: Origin;

  constructor(config: Config, signal: AbortSignal, origin: Origin = {}) {
    this.#config = config;
    this.#signal = signal;
    this.#origin = origin;
  }

  async download(id: string, path: string, options: DownloadOptions): Promise<void> {
    const { role, types } = options;
    await this.#patiently(
      'TASK_DOWNLOAD_FAILED',
      `${role} could not be downloaded`,
      async (signal) => {
        const response = await this.#fetch(
          `download/${encodeURIComponent(id.toLowerCase())}`,
          signal,
        );
        if (response.status === 404) {
          await response.body?.cancel();
          throw fileNotFound(role, id);
        }
        const type = response.headers.get('content-type') ?? '';
        await this.#check(response);
        if (!types.some((accepted) => type.startsWith(accepted))) {
          await response.body?.cancel();
          throw new CodedError(
            'TASK_FILE_WRONG_TYPE',
            `${role}: a file of type ${types.join(' or ')} is wanted, ${id} is ${type}`,
          );
        }
        await save(response, path, options, signal);
      },
    );
  }

  /**
   * Uploads a video under the id, however often the line breaks, and returns the id that it has;
   * it is that account's where one is named. When this is aborted, no video stays on the server.
   */
  async upload(path: string, name: string, videoId: string, user?: string): Promise<string> {
    return this.#patiently(
      'TASK_UPLOAD_FAILED',
      'the video could not be uploaded',
      async (signal) => {
        const { size } = await stat(path);
        const upload = new Upload(path, name, size, signal);
        try {
          const response = await this.#fetch(
            `upload?file_id=${videoId}${user === undefined ? '' : `&user=${user}`}`,
            upload.line,
            upload.request(),
          );
          await this.#check(response);
          const answer = await json(bodyOf(response, upload.line));
          if (!Value.Check(uploadAnswer, answer)) {
            throw new CodedError(
              'TASK_UPLOAD_FAILED',
              'the server answered the upload without a file_id',
            );
          }
          if (signal.aborted) await this.delete(answer.file_id);
          signal.throwIfAborted();
          return answer.file_id;
        } finally {
          upload.end();
        }
      },
    );
  }

  /** Best effort: the file expires anyway. */
  async delete(id: string): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    await this.#fetch(`delete/${id}`, signal, { method: 'DELETE' })
      .then((response) => response.body?.cancel())
      .catch(() => undefined);
  }

  #fetch(path: string, signal: AbortSignal, init: RequestInit = {}): Promise<Response> {
    const { baseUrl, apiToken } = this.#config;
    const headers = new Headers(init.headers);
    if (apiToken !== undefined) headers.set('authorization', `Bearer ${apiToken}`);
    const { workerKey, traceparent } = this.#origin;
    if (workerKey !== undefined) headers.set(workerKeyHeader, workerKey);
    const trace = traceparent?.();
    if (trace !== undefined) headers.set('traceparent', trace);
    return fetch(`${baseUrl}/api/tempfile/${path}`, {
      ...init,
      headers,
      signal,
      redirect: 'error',
    });
  }

  async #check(response: Response): Promise<void> {
    if (response.ok) return;
    const text = (await response.text()).slice(0, 300);
    const failure = new Error(`the server answered ${response.status}: ${text}`);
    throw response.status >= 500 || response.status === 429 ? failure : new Final(failure.message);
  }

  /** Tries again what may pass (no connection, 5xx), until the time for one transfer is over. */
  async #patiently<T>(
    code: 'TASK_DOWNLOAD_FAILED' | 'TASK_UPLOAD_FAILED',
    what: string,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { transferMs } = this.#config.tasks;
    const deadline = Date.now() + transferMs;
    for (let wait = 250; ; wait = Math.min(wait * 2, 5000)) {
      const late = () => new Error(`it took longer than ${transferMs / 1000} s`);
      const time = timeLimit(this.#signal, Math.max(1, deadline - Date.now()), late);
      try {
        return await attempt(time.signal);
      } catch (error) {
        this.#signal.throwIfAborted();
        if (error instanceof CodedError) throw error;
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
          throw new CodedError('STORAGE_FULL', "the disk of the worker's files is full");
        }
        if (error instanceof Final || Date.now() + wait >= deadline) {
          throw new CodedError(code, `${what}: ${reasonOf(error)}`, { cause: error });
        }
        await sleep(wait, undefined, { signal: this.#signal });
      } finally {
        time.end();
      }
    }
  }
}

/**
 * The form of one upload. Aborted before its last bytes went out, the connection is cut and the
 * server keeps nothing; after that the server has the video, and its answer says what to delete.
 */
class Upload {
  readonly #path: string;
  readonly #name: string;
  readonly #size: number;
  readonly #signal: AbortSignal;
  readonly #line = new AbortController();
  readonly #cut = () => this.#onAbort();
  #isSent = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, name: string, size: number, signal: AbortSignal) {
    this.#path = path;
    this.#name = name;
    this.#size = size;
    this.#signal = signal;
    signal.throwIfAborted();
    signal.addEventListener('abort', this.#cut);
  }

  get line(): AbortSignal {
    return this.#line.signal;
  }

  #onAbort(): void {
    const cut = () => this.#line.abort(this.#signal.reason);
    if (this.#isSent) this.#timer = setTimeout(cut, answerMs);
    else cut();
  }

  request(): RequestInit {
    const boundary = `----echomimic-${randomUUID()}`;
    return {
      method: 'POST',
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: Readable.toWeb(Readable.from(this.#form(boundary))) as RequestInit['body'],
      duplex: 'half',
    } as RequestInit;
  }

  async *#form(boundary: string): AsyncGenerator<Uint8Array> {
    yield Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${this.#name}"\r\n` +
        'Content-Type: video/mp4\r\n\r\n',
    );
    yield* createReadStream(this.#path, { end: this.#size - 1 }) as AsyncIterable<Uint8Array>;
    this.#isSent = true;
    yield Buffer.from(`\r\n--${boundary}--\r\n`);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#cut);
  }
}

/** A refusal that asking again would not change. */
class Final extends Error {}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  if (message !== 'fetch failed') return message;
  return cause?.code ?? cause?.message ?? message;
}

/** Also ends when the signal does: once its last bytes are in, `fetch` leaves a body waiting. */
function bodyOf({ body }: Response, signal: AbortSignal): AsyncIterable<Uint8Array> {
  return piecesUntil((body ?? []) as AsyncIterable<Uint8Array>, signal);
}

async function save(
  response: Response,
  path: string,
  { maxBytes, role }: DownloadOptions,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'w', 0o600);
  let bytes = 0;
  try {
    for await (const chunk of bodyOf(response, signal)) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new CodedError('FILE_TOO_LARGE', `${role}: the file has more than ${maxBytes} bytes`);
      }
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
}
