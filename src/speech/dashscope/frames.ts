import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { parsed } from './failures.js';

/** What one task of the synthesiser asks for. */
export interface SpeechRequest {
  readonly model: string;
  readonly voice: string;
  /** Hz, of 16-bit mono samples. */
  readonly sampleRate: number;
  readonly rate: number;
  readonly pitch: number;
  /** Sent as one frame each. */
  readonly pieces: readonly string[];
}

const taskEvent = Type.Object({
  header: Type.Object({
    event: Type.String(),
    task_id: Type.Optional(Type.String()),
    error_code: Type.Optional(Type.String()),
    error_message: Type.Optional(Type.String()),
  }),
  payload: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Object({
        output: Type.Optional(Type.Union([Type.Null(), Type.Object({})])),
        usage: Type.Optional(Type.Unknown()),
      }),
    ]),
  ),
});
export type TaskEvent = Type.Static<typeof taskEvent>;

/** Undefined when the frame is no event of the protocol. */
export function readEvent(text: string): TaskEvent | undefined {
  const frame = parsed(text);
  return Value.Check(taskEvent, frame) ? frame : undefined;
}

export function runTask(taskId: string, request: SpeechRequest): string {
  return command('run-task', taskId, {
    task_group: 'audio',
    task: 'tts',
    function: 'SpeechSynthesizer',
    model: request.model,
    parameters: {
      text_type: 'PlainText',
      voice: request.voice,
      format: 'pcm',
      sample_rate: request.sampleRate,
      volume: 50,
      rate: request.rate,
      pitch: request.pitch,
      enable_ssml: false,
    },
    input: {},
  });
}

export function continueTask(taskId: string, text: string): string {
  return command('continue-task', taskId, { input: { text } });
}

export function finishTask(taskId: string): string {
  return command('finish-task', taskId, { input: {} });
}

function command(action: string, taskId: string, payload: unknown): string {
  return JSON.stringify({
    header: { action, task_id: taskId, streaming: 'duplex' },
    payload,
  });
}
