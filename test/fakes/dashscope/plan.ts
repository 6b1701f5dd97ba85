/** What a test makes the fake do: each list is used up from its front, then all is well again. */

export interface RefusalStep {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfter?: string;
}

/** The misfortunes of any HTTP request. */
export type HttpStep =
  | { readonly refuse: RefusalStep }
  /** A reply as it stands. */
  | { readonly raw: string; readonly status?: number; readonly type?: string }
  /** Never answers. */
  | { readonly hang: true }
  /** Closes the connection: before the reply, or in the middle of it. */
  | { readonly cut: 'before' | 'middle' }
  /** Answers as usual, later. */
  | { readonly delayMs: number };

export type RecogniseStep =
  | HttpStep
  | { readonly text: string }
  /** The service's word for silence, in a good or in a bad reply. */
  | { readonly silence: 'reply' | 'refusal' }
  /** An event stream of these raw pieces; it stays open after them when `open`. */
  | { readonly events: readonly string[]; readonly open?: boolean };

export type HandshakeStep =
  | { readonly refuse: RefusalStep }
  | { readonly raw: string; readonly status: number }
  | { readonly hang: true }
  | { readonly cut: true };

export interface SpeakStep {
  /**
   * When it happens: instead of task-started, with the first text, in the middle of the sound
   * (which is the default), or instead of task-finished.
   */
  readonly at?: 'start' | 'text' | 'sound' | 'end';
  readonly fail?: { readonly code: string; readonly message: string };
  /** The code of the close frame, or the connection just ends. */
  readonly close?: number | 'cut';
  /** Nothing comes any more. */
  readonly hang?: true;
  /** Sent as they are; the task goes on. */
  readonly send?: readonly (string | Buffer)[];
  /** Finishes without sound. */
  readonly silent?: true;
  readonly startAfterMs?: number;
  /** The whole task in the manner of older servers: with task-finished, or without it. */
  readonly old?: 'finished' | 'unfinished';
}

export interface Plan {
  readonly recognise: RecogniseStep[];
  readonly policy: HttpStep[];
  readonly upload: HttpStep[];
  readonly handshake: HandshakeStep[];
  readonly speak: SpeakStep[];
}

/** One thing that was asked of the fake and found in order. */
export type Asked =
  | {
      readonly kind: 'recognise';
      readonly model: string;
      readonly audio: Buffer;
      readonly source: 'data' | 'oss' | 'url';
      readonly mime: string | undefined;
      readonly language: string | undefined;
      readonly streamed: boolean;
    }
  | { readonly kind: 'policy'; readonly model: string }
  | { readonly kind: 'upload'; readonly key: string; readonly bytes: number }
  | { readonly kind: 'handshake' }
  | TaskRecord;

export interface TaskRecord {
  readonly kind: 'task';
  readonly taskId: string;
  readonly model: string;
  readonly voice: string;
  readonly rate: number;
  readonly pitch: number;
  readonly sampleRate: number;
  /** The number of the socket, from 1 in the order of their handshakes. */
  readonly socket: number;
  /** Of all continue-task frames. */
  text: string;
  frames: number;
  outcome: 'running' | 'finished' | 'failed' | 'closed';
}

export const models = {
  asr: ['qwen3-asr-flash', 'qwen3-asr-flash-2025-09-08'],
  chat: ['qwen-audio-turbo-latest', 'qwen-audio-turbo', 'qwen2-audio-instruct', 'qwen-audio-chat'],
  /** A transcriber that is spoken to like the chat models, without an instruction. */
  transcriber: ['qwen-audio-asr'],
  audio3: ['qwen-audio-3.0-asr-flash', 'qwen-audio-3.1-asr-flash'],
} as const;

export const voices: Readonly<Record<string, readonly string[]>> = {
  'cosyvoice-v1': ['longxiaochun'],
  'cosyvoice-v2': ['longxiaochun_v2'],
  'cosyvoice-v3-flash': ['longanyang', 'longanhuan', 'longhuhu_v3'],
  'cosyvoice-v3-plus': ['longanyang', 'longanhuan', 'longhuhu_v3'],
  'qwen-audio-3.0-tts-flash': ['longanfengyue', 'longanlingxi', 'longanhuan_v3.6'],
  'qwen-audio-3.0-tts-plus': ['longanlingxin', 'longanlufeng'],
  'qwen-audio-3.1-tts-flash': ['longanhuan_v3.1'],
};
