import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';

const strict = { additionalProperties: false };
const taskId = Type.String({
  pattern: '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$',
});

/** The official SDK names these in every frame. */
const named = {
  model: Type.Optional(Type.String()),
  task_group: Type.Optional(Type.Literal('audio')),
  task: Type.Optional(Type.Literal('tts')),
  function: Type.Optional(Type.Literal('SpeechSynthesizer')),
};

const parameters = Type.Object(
  {
    text_type: Type.Literal('PlainText'),
    voice: Type.String({ minLength: 1 }),
    format: Type.Optional(Type.Enum(['pcm', 'wav', 'mp3', 'opus'])),
    sample_rate: Type.Optional(Type.Enum([8000, 16000, 22050, 24000, 44100, 48000])),
    volume: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
    rate: Type.Optional(Type.Number({ minimum: 0.5, maximum: 2 })),
    pitch: Type.Optional(Type.Number({ minimum: 0.5, maximum: 2 })),
    bit_rate: Type.Optional(Type.Integer({ minimum: 6, maximum: 510 })),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535 })),
    type: Type.Optional(Type.Literal(0)),
    enable_ssml: Type.Optional(Type.Boolean()),
    word_timestamp_enabled: Type.Optional(Type.Boolean()),
    language_hints: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
    instruction: Type.Optional(Type.String({ maxLength: 128 })),
  },
  strict,
);

const payloads = {
  'run-task': Type.Object(
    {
      model: Type.String(),
      task_group: Type.Literal('audio'),
      task: Type.Literal('tts'),
      function: Type.Literal('SpeechSynthesizer'),
      parameters,
      input: Type.Object({}, strict),
    },
    strict,
  ),
  'continue-task': Type.Object(
    {
      ...named,
      input: Type.Union([
        Type.Object({ text: Type.String({ minLength: 1 }) }, strict),
        Type.Object({ flush: Type.Literal(true) }, strict),
      ]),
    },
    strict,
  ),
  'finish-task': Type.Object({ ...named, input: Type.Object({}, strict) }, strict),
} as const;
type Action = keyof typeof payloads;

const header = Type.Object(
  {
    action: Type.Enum(Object.keys(payloads)),
    task_id: taskId,
    streaming: Type.Literal('duplex'),
  },
  strict,
);
const anyFrame = Type.Object({ header, payload: Type.Unknown() }, strict);

export type Command = {
  [A in Action]: {
    readonly action: A;
    readonly taskId: string;
    readonly payload: Type.Static<(typeof payloads)[A]>;
  };
}[Action];

/** A frame of the client; a text says what is wrong with it. */
export function readCommand(text: string): Command | string {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return 'the frame is no JSON';
  }
  if (!Value.Check(anyFrame, frame)) return `the frame's ${problem(anyFrame, frame)}`;
  const { task_id: taskId } = frame.header;
  const action = frame.header.action as Action;
  const { payload } = frame;
  if (!Value.Check(payloads[action], payload)) {
    return `the payload of ${action}: ${problem(payloads[action], payload)}`;
  }
  return { action, taskId, payload } as Command;
}

/** A Chinese character counts two. */
export function unitsOf(text: string): number {
  return [...text].reduce((sum, one) => sum + (/\p{Script=Han}/u.test(one) ? 2 : 1), 0);
}

function problem(schema: TSchema, value: unknown): string {
  const [first] = Value.Errors(schema, value);
  return `${first?.instancePath ?? ''} ${first?.message ?? 'is wrong'}`.trim();
}
