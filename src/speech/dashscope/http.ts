import { createParser } from 'eventsource-parser';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Config } from '../../config.js';
import { type Failures, errorOf, parsed } from './failures.js';

/** No reply of these services comes near; a server that sends without end is left. */
const MAX_REPLY_BYTES = 4 * 1024 * 1024;

const policyReply = Type.Object({
  data: Type.Object({
    policy: Type.String(),
    signature: Type.String(),
    upload_dir: Type.String(),
    upload_host: Type.String({ pattern: '^https?://' }),
    max_file_size_mb: Type.Optional(Type.Union([Type.Number(), Type.String()])),
    oss_access_key_id: Type.String(),
    x_oss_object_acl: Type.String(),
    x_oss_forbid_overwrite: Type.Union([Type.String(), Type.Boolean()]),
  }),
});

export interface Upload {
  readonly data: Uint8Array;
  readonly mime: string;
  readonly name: string;
}

/** The HTTP half of DashScope. Failures of the network pass as they are. */
export class DashscopeHttp {
  readonly #settings: Config['providers']['dashscope'];
  readonly #failures: Failures;

  constructor(settings: Config['providers']['dashscope'], failures: Failures) {
    this.#settings = settings;
    this.#failures = failures;
  }

  /** The envelopes of the reply: one, or one for each event of a stream. */
  async *post(
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<unknown> {
    const response = await fetch(`${this.#settings.httpUrl}/${path}`, {
      method: 'POST',
      headers: { ...this.#headers(), 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      redirect: 'error',
      signal,
    });
    if (!response.ok) throw await this.#refused(response);
    const type = response.headers.get('content-type') ?? '';
    const envelopes = /^text\/event-stream/i.test(type)
      ? this.#events(response)
      : this.#whole(response);
    for await (const envelope of envelopes) {
      const error = errorOf(envelope);
      if (error !== undefined) throw this.#failures.refusal(error);
      yield envelope;
    }
  }

  /** Puts a file where the service can read it for two days; returns its `oss://` address. */
  async upload(file: Upload, model: string, signal: AbortSignal): Promise<string> {
    const policy = await this.#policy(model, signal);
    const limit = Number(policy.max_file_size_mb ?? Infinity);
    if (file.data.length > limit * 1024 * 1024) {
      throw this.#failures.refusal({
        code: 'FileTooLarge',
        message: `it takes files of ${limit} MB, the recording has ${file.data.length} bytes`,
      });
    }
    const key = `${policy.upload_dir}/${file.name}`;
    const form = new FormData();
    form.set('OSSAccessKeyId', policy.oss_access_key_id);
    form.set('Signature', policy.signature);
    form.set('policy', policy.policy);
    form.set('x-oss-object-acl', policy.x_oss_object_acl);
    form.set('x-oss-forbid-overwrite', String(policy.x_oss_forbid_overwrite));
    form.set('key', key);
    form.set('success_action_status', '200');
    // the storage ignores what comes after the file
    form.set('file', new Blob([file.data], { type: file.mime }), file.name);
    const response = await fetch(policy.upload_host, {
      method: 'POST',
      body: form,
      redirect: 'error',
      signal,
    });
    const text = await this.#text(response);
    if (!response.ok) {
      // the storage answers in XML, which repeats the signature
      const part = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
      throw this.#failures.refusal({
        status: response.status,
        code: part('Code') ?? `status ${response.status}`,
        message: `the upload: ${part('Message') ?? 'no reason given'}`,
        requestId: part('RequestId'),
        retryAfter: response.headers.get('retry-after'),
      });
    }
    return `oss://${key}`;
  }

  async #policy(model: string, signal: AbortSignal) {
    const query = new URLSearchParams({ action: 'getPolicy', model });
    const response = await fetch(`${this.#settings.httpUrl}/uploads?${query.toString()}`, {
      headers: this.#headers(),
      redirect: 'error',
      signal,
    });
    if (!response.ok) throw await this.#refused(response);
    const reply = parsed(await this.#text(response));
    const error = errorOf(reply);
    if (error !== undefined) throw this.#failures.refusal(error);
    if (!Value.Check(policyReply, reply)) {
      throw this.#failures.malformed(`an upload policy that lacks ${firstProblem(reply)}`);
    }
    if (this.#settings.httpUrl.startsWith('https:') && !/^https:/.test(reply.data.upload_host)) {
      throw this.#failures.malformed('an upload address without encryption');
    }
    return reply.data;
  }

  #headers(): Record<string, string> {
    const { apiKey, workspace } = this.#settings;
    return {
      authorization: `Bearer ${apiKey ?? ''}`,
      ...(workspace === undefined ? {} : { 'x-dashscope-workspace': workspace }),
    };
  }

  async #refused(response: Response): Promise<Error> {
    const text = await this.#text(response);
    return this.#failures.httpRefusal(response.status, text, response.headers.get('retry-after'));
  }

  async *#whole(response: Response): AsyncGenerator<unknown> {
    const text = await this.#text(response);
    const envelope = parsed(text);
    if (envelope === undefined) throw this.#failures.malformed(`no JSON: ${text.slice(0, 100)}`);
    yield envelope;
  }

  /** Events of a stream; lines that are none (heartbeats) are ignored. */
  async *#events(response: Response): AsyncGenerator<unknown> {
    const arrived: { event?: string | undefined; data: string }[] = [];
    const parser = createParser({ onEvent: (event) => arrived.push(event) });
    for await (const text of this.#pieces(response)) {
      // the last event may lack its blank line
      parser.feed(text ?? '\n\n');
      for (const { event, data } of arrived.splice(0)) {
        const envelope = parsed(data);
        if (envelope === undefined) {
          throw this.#failures.malformed(`an event without JSON: ${data.slice(0, 100)}`);
        }
        if (event === 'error' && errorOf(envelope) === undefined) {
          throw this.#failures.malformed(`an error without a code: ${data.slice(0, 100)}`);
        }
        yield envelope;
      }
    }
  }

  async #text(response: Response): Promise<string> {
    let text = '';
    for await (const piece of this.#pieces(response)) text += piece ?? '';
    return text;
  }

  /** The text of a body as it arrives, and undefined at its end. */
  async *#pieces(response: Response): AsyncGenerator<string | undefined> {
    const decoder = new TextDecoder();
    let bytes = 0;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > MAX_REPLY_BYTES) {
        throw this.#failures.malformed(`more than ${MAX_REPLY_BYTES} bytes`);
      }
      yield decoder.decode(chunk, { stream: true });
    }
    yield undefined;
  }
}

function firstProblem(reply: unknown): string {
  const [problem] = Value.Errors(policyReply, reply);
  return problem === undefined ? 'something' : `${problem.instancePath} (${problem.message})`;
}
