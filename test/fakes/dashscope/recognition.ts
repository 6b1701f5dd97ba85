import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Ledger } from './ledger.js';
import { type Asked, type RecogniseStep, type RefusalStep, models } from './plan.js';
import { type Exchange, act, answer, envelope, refuse, stream } from './replies.js';
import type { Uploads } from './uploads.js';

export type Recognised = Extract<Asked, { kind: 'recognise' }>;

const strict = { additionalProperties: false };
const text = Type.Object({ text: Type.String() }, strict);
const audio = Type.Object({ audio: Type.String() }, strict);
const system = Type.Object({ role: Type.Literal('system'), content: Type.Array(text) }, strict);
const message = (...parts: (typeof text | typeof audio)[]) =>
  Type.Object({ role: Type.Literal('user'), content: Type.Tuple(parts) }, strict);

const asrBody = Type.Object(
  {
    model: Type.String(),
    input: Type.Object({
      messages: Type.Union([Type.Tuple([message(audio)]), Type.Tuple([system, message(audio)])]),
    }),
    parameters: Type.Object({
      asr_options: Type.Object(
        {
          language: Type.Optional(
            Type.Enum(
              'ar cs da de en es fi fil fr hi id is it ja ko ms no pl pt ru sv th tr uk vi yue zh'.split(
                ' ',
              ),
            ),
          ),
          enable_itn: Type.Optional(Type.Boolean()),
          enable_lid: Type.Optional(Type.Boolean()),
        },
        strict,
      ),
      result_format: Type.Optional(Type.Literal('message')),
    }),
  },
  strict,
);
const chatBody = Type.Object(
  {
    model: Type.String(),
    input: Type.Object({
      messages: Type.Union([Type.Tuple([message(audio, text)]), Type.Tuple([message(audio)])]),
    }),
    parameters: Type.Object({
      result_format: Type.Optional(Type.Literal('message')),
      incremental_output: Type.Optional(Type.Boolean()),
    }),
  },
  strict,
);
const audio3Body = Type.Object(
  {
    model: Type.String(),
    input: Type.Object({
      messages: Type.Tuple([
        Type.Object({
          role: Type.Literal('user'),
          content: Type.Tuple([
            Type.Object(
              {
                type: Type.Literal('input_audio'),
                input_audio: Type.Object({ data: Type.String() }, strict),
              },
              strict,
            ),
          ]),
        }),
      ]),
    }),
    parameters: Type.Object({
      format: Type.Enum(['wav', 'mp3', 'aac', 'm4a', 'ogg', 'opus', 'webm', 'flac', 'pcm']),
      sample_rate: Type.Optional(Type.Integer({ minimum: 8000, maximum: 48_000 })),
    }),
  },
  strict,
);

/** The longest data URI: "10 MB including base64". */
const maxDataUri = 10 * 1024 * 1024;

export const isAsrModel = (model: string): boolean =>
  Object.values(models).some((family) => (family as readonly string[]).includes(model));

/** The recognition of short recordings, for all three families of models. */
export class Recognition {
  readonly #ledger: Ledger;
  readonly #uploads: Uploads;
  readonly #transcript: (request: Recognised) => string;

  constructor(ledger: Ledger, uploads: Uploads, transcript: (request: Recognised) => string) {
    this.#ledger = ledger;
    this.#uploads = uploads;
    this.#transcript = transcript;
  }

  async handle({ request, response, body }: Exchange): Promise<void> {
    const ledger = this.#ledger;
    const stranger = ledger.stranger(request.headers);
    if (stranger !== undefined) return refuse(response, stranger);
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
      return refuse(response, ledger.violation('content-type is not application/json'));
    }
    const read = await this.#read(body, request.headers);
    if ('status' in read) return refuse(response, read);
    ledger.requests.push(read.asked);
    const step = ledger.plan.recognise.shift();
    if (step !== undefined && isReply(step)) {
      if ('events' in step) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (const piece of step.events) response.write(piece);
        if (step.open !== true) response.end();
      } else if ('text' in step) this.#reply(response, read, step.text);
      else if (step.silence === 'refusal') {
        const message = 'The audio holds no speech.';
        refuse(response, { status: 400, code: 'SUCCESS_WITH_NO_VALID_FRAGMENT', message });
      } else answer(response, { code: 'SUCCESS_WITH_NO_VALID_FRAGMENT', message: '', output: {} });
      return;
    }
    act(ledger, step, response, () => this.#reply(response, read, this.#transcript(read.asked)));
  }

  #reply(response: Exchange['response'], { asked, told }: Read, words: string): void {
    // a chat model that is told nothing answers what it hears
    const said = told ? words : `You said: "${words}". How can I help?`;
    if (asked.streamed) stream(response, said);
    else if ((models.audio3 as readonly string[]).includes(asked.model)) {
      answer(response, { output: { text: said }, usage: { seconds: 1 }, request_id: 'r' });
    } else answer(response, envelope(said === '' ? [] : [{ text: said }], 'stop'));
  }

  async #read(body: Buffer, headers: Exchange['request']['headers']): Promise<Read | RefusalStep> {
    const ledger = this.#ledger;
    let json: unknown;
    try {
      json = JSON.parse(body.toString('utf8'));
    } catch {
      return ledger.violation('the body is no JSON');
    }
    const model = (json as { model?: unknown } | null)?.model;
    if (typeof model !== 'string') return ledger.violation('model is missing');
    if (!isAsrModel(model)) {
      return { status: 404, code: 'ModelNotFound', message: 'Model not exist.' };
    }
    const sse = headers['x-dashscope-sse'];
    const schema = schemaOf(model);
    if (!Value.Check(schema, json)) return ledger.violation(problem(schema, json));
    const { input, parameters } = json as Body;
    const [sound, text] = input.messages.at(-1)?.content ?? [];
    const uri = sound?.audio ?? sound?.input_audio?.data ?? '';
    if (schema === audio3Body && sse !== 'enable' && sse !== 'disable') {
      return ledger.violation('X-DashScope-SSE is neither enable nor disable');
    }
    const transcribes = (models.transcriber as readonly string[]).includes(model);
    if (transcribes && text !== undefined) return ledger.violation(`${model} takes no text`);
    const told =
      schema !== chatBody || transcribes || /word for word|transcri/i.test(text?.text ?? '');
    const heard = await this.#fetch(uri, headers);
    if ('status' in heard) return heard;
    const streamed = sse === 'enable';
    const language = parameters.asr_options?.language;
    return { asked: { kind: 'recognise', model, language, streamed, ...heard }, told };
  }

  async #fetch(
    uri: string,
    headers: Exchange['request']['headers'],
  ): Promise<Pick<Recognised, 'audio' | 'source' | 'mime'> | RefusalStep> {
    const ledger = this.#ledger;
    if (uri.startsWith('data:')) {
      if (uri.length > maxDataUri)
        return ledger.violation(`a data URI of ${uri.length} characters`);
      const comma = uri.indexOf(',');
      const mime = /^data:((?:audio|video)\/[\w.+-]+);base64$/.exec(uri.slice(0, comma))?.[1];
      const content = uri.slice(comma + 1);
      const audio = Buffer.from(content, 'base64');
      if (mime === undefined || audio.length === 0 || audio.toString('base64') !== content) {
        return ledger.violation(`no data URI of sound: ${uri.slice(0, 40)}`);
      }
      return { audio, source: 'data', mime };
    }
    if (uri.startsWith('oss://')) {
      if (headers['x-dashscope-ossresourceresolve'] !== 'enable') {
        return ledger.violation('oss:// without X-DashScope-OssResourceResolve: enable');
      }
      const audio = this.#uploads.file(uri.slice('oss://'.length));
      if (audio === undefined) return ledger.violation(`there is no file ${uri}`);
      return { audio, source: 'oss', mime: undefined };
    }
    // a service on the internet reaches no loopback address, but this one stands for it
    if (/^http:\/\/(127\.0\.0\.1|localhost)[:/]/.test(uri)) {
      const reply = await fetch(uri);
      const audio = Buffer.from(await reply.arrayBuffer());
      if (reply.ok) return { audio, source: 'url', mime: undefined };
    }
    return ledger.violation(`The audio ${uri.slice(0, 80)} could not be fetched.`);
  }
}

/** What the schemas leave of a body. */
interface Body {
  readonly input: {
    readonly messages: readonly {
      readonly content: readonly {
        readonly audio?: string;
        readonly text?: string;
        readonly input_audio?: { readonly data: string };
      }[];
    }[];
  };
  readonly parameters: { readonly asr_options?: { readonly language?: string } };
}

function schemaOf(model: string): TSchema {
  if ((models.audio3 as readonly string[]).includes(model)) return audio3Body;
  return (models.asr as readonly string[]).includes(model) ? asrBody : chatBody;
}

interface Read {
  readonly asked: Recognised;
  /** Whether the model knows that it shall transcribe. */
  readonly told: boolean;
}

function isReply(
  step: RecogniseStep,
): step is Extract<RecogniseStep, { text: string } | { silence: string } | { events: unknown }> {
  return 'text' in step || 'silence' in step || 'events' in step;
}

function problem(schema: TSchema, json: unknown): string {
  const [first] = Value.Errors(schema, json);
  return `the body's ${first?.instancePath ?? ''} ${first?.message ?? 'is wrong'}`;
}
