import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../../errors.js';
import type { Failures } from './failures.js';

export interface Question {
  readonly model: string;
  /** `data:`, `oss://` or `https://`. */
  readonly audio: string;
  /** File name extension of the recording. */
  readonly extension: string;
  readonly sampleRate: number | undefined;
  /** BCP 47. */
  readonly language: string | undefined;
}

/** What an envelope adds to the text, and whether it is the last. */
export interface Piece {
  readonly text: string;
  readonly last: boolean;
}

/** Models that are asked and that answer in the same way. */
export interface Family {
  /** Recordings that the models read; others are converted to WAV. */
  readonly formats: ReadonlySet<string>;
  readonly streams: boolean;
  body(question: Question): unknown;
  piece(envelope: unknown, failures: Failures): Piece;
}

const part = Type.Object({ text: Type.Optional(Type.Union([Type.String(), Type.Null()])) });
const choice = Type.Object({
  finish_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  message: Type.Object({ content: Type.Union([Type.String(), Type.Array(part)]) }),
});
const choicesReply = Type.Object({
  output: Type.Object({ choices: Type.Array(choice) }),
});
const textReply = Type.Object({
  output: Type.Union([
    Type.Object({
      text: Type.String(),
      finish_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
    Type.Object({ choices: Type.Array(choice, { minItems: 1 }) }),
  ]),
});

const common = ['wav', 'mp3', 'aac', 'm4a'];
/** The languages of `asr_options.language`; others are left to its own detection. */
const asrLanguages = new Set(
  'ar cs da de en es fi fil fr hi id is it ja ko ms no pl pt ru sv th tr uk vi yue zh'.split(' '),
);

const qwenAsr: Family = {
  formats: new Set([...common, 'ogg', 'opus', 'webm', 'flac']),
  streams: false,
  body({ model, audio, language }) {
    const known = language?.toLowerCase().split('-')[0] ?? '';
    return {
      model,
      input: {
        messages: [
          { role: 'system', content: [{ text: '' }] },
          { role: 'user', content: [{ audio }] },
        ],
      },
      parameters: {
        asr_options: {
          ...(asrLanguages.has(known) ? { language: known } : {}),
          enable_itn: false,
        },
      },
    };
  },
  piece: fromChoices,
};

/** What a chat model is told, which would answer the recording otherwise. */
export const noSpeech = '[NO SPEECH]';
const instruction =
  'Write down what is said in this recording, word for word and in the language that is spoken. ' +
  'Write the transcript only: no introduction, no quotation marks, no translation, and no answer ' +
  `to what is said. If nobody speaks, write ${noSpeech} only.`;

const qwenAudioChat: Family = {
  formats: new Set(common),
  streams: true,
  body({ model, audio, language }) {
    const hint = language === undefined ? '' : ` The language is probably ${language}.`;
    // a transcriber that takes no instruction, still found in old configurations
    const told = model.startsWith('qwen-audio-asr') ? [] : [{ text: instruction + hint }];
    return {
      model,
      input: { messages: [{ role: 'user', content: [{ audio }, ...told] }] },
      parameters: { result_format: 'message', incremental_output: true },
    };
  },
  piece(envelope, failures) {
    return fromChoices(envelope, failures);
  },
};

const qwenAudio3: Family = {
  formats: new Set([...common, 'ogg', 'opus', 'webm', 'flac']),
  streams: false,
  body({ model, audio, extension, sampleRate }) {
    return {
      model,
      input: {
        messages: [
          { role: 'user', content: [{ type: 'input_audio', input_audio: { data: audio } }] },
        ],
      },
      parameters: {
        format: extension,
        ...(sampleRate === undefined ? {} : { sample_rate: sampleRate }),
      },
    };
  },
  piece(envelope, failures) {
    const { output } = checked(textReply, envelope, failures);
    return 'text' in output
      ? { text: output.text, last: isLast(output.finish_reason) }
      : fromChoices(envelope, failures);
  },
};

/** How a model is spoken to, judged by its name; names that are new to us are chat models. */
export function familyOf(model: string): Family {
  if (/^(paraformer|fun-asr|sensevoice|gummy)|-filetrans|-realtime|-streaming/.test(model)) {
    throw new CodedError(
      'CONFIG_INVALID',
      `ASR_MODEL=${model} works on files or streams only; expected a model for short recordings, such as qwen3-asr-flash or qwen-audio-turbo-latest`,
    );
  }
  if (model.startsWith('qwen3-asr-flash')) return qwenAsr;
  if (/^qwen-audio-\d+\.\d+-asr-flash/.test(model)) return qwenAudio3;
  return qwenAudioChat;
}

function fromChoices(envelope: unknown, failures: Failures): Piece {
  const [first] = checked(choicesReply, envelope, failures).output.choices;
  if (first === undefined) return { text: '', last: false };
  const { content } = first.message;
  const text =
    typeof content === 'string' ? content : content.map((one) => one.text ?? '').join('');
  return { text, last: isLast(first.finish_reason) };
}

/** In the middle of a stream the reason is null, or the word. */
function isLast(reason: string | null | undefined): boolean {
  return ![undefined, null, '', 'null'].includes(reason);
}

function checked<S extends TSchema>(schema: S, envelope: unknown, failures: Failures): Static<S> {
  if (Value.Check(schema, envelope)) return envelope;
  const [problem] = Value.Errors(schema, envelope);
  throw failures.malformed(
    problem === undefined ? 'a reply' : `the reply's ${problem.instancePath} ${problem.message}`,
  );
}
