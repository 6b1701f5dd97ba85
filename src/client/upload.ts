import type { UploadAnswer } from '../tempfile/http-schema.js';
import { ApiError } from './errors.js';
import type { RequestOptions } from './http.js';

export interface UploadOptions extends RequestOptions {
  /** Of the file, where it has none itself. */
  readonly name?: string | undefined;
  /** The id that the file shall have: a UUID in lower case. */
  readonly fileId?: string | undefined;
  /** Bytes sent and bytes in all; in browsers as they go out, elsewhere at the end. */
  readonly onProgress?: ((sent: number, total: number) => void) | undefined;
}

export function formOf(file: Blob, { name }: UploadOptions): FormData {
  const form = new FormData();
  form.append('file', file, name ?? (file as { name?: string }).name ?? 'file');
  return form;
}

/** What of XMLHttpRequest is needed: `fetch` tells nothing of a body on its way. */
interface Transfer {
  readonly status: number;
  readonly responseText: string;
  readonly upload: { onprogress: ((event: { loaded: number; total: number }) => void) | null };
  onload: (() => void) | null;
  onerror: (() => void) | null;
  onabort: (() => void) | null;
  open(method: string, url: string): void;
  setRequestHeader(name: string, value: string): void;
  getResponseHeader(name: string): string | null;
  send(body: FormData): void;
  abort(): void;
}

/** Undefined outside of browsers. */
export function transfer(): Transfer | undefined {
  const { XMLHttpRequest } = globalThis as { XMLHttpRequest?: new () => Transfer };
  return XMLHttpRequest === undefined ? undefined : new XMLHttpRequest();
}

export function uploadWith(
  request: Transfer,
  url: string,
  form: FormData,
  bearer: string | undefined,
  { onProgress, signal }: UploadOptions,
): Promise<UploadAnswer> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => request.abort();
    const end = (settle: () => void) => () => {
      signal?.removeEventListener('abort', abort);
      settle();
    };
    signal?.addEventListener('abort', abort);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded, total);
    request.onabort = end(() => reject(signal?.reason as Error));
    request.onerror = end(() => reject(new ApiError('OFFLINE', 'the server cannot be reached')));
    request.onload = end(() => {
      const { status, responseText } = request;
      const retryAfter = request.getResponseHeader('retry-after');
      if (status < 200 || status > 299)
        return reject(ApiError.of(status, responseText, retryAfter));
      try {
        resolve(JSON.parse(responseText) as UploadAnswer);
      } catch (cause) {
        reject(new ApiError('UNEXPECTED', 'the answer is not JSON', { status, cause }));
      }
    });
    request.open('POST', url);
    if (bearer !== undefined) request.setRequestHeader('authorization', `Bearer ${bearer}`);
    request.send(form);
  });
}
