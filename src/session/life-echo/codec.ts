import { Type } from 'typebox';
import { CodedError, type ErrorCode } from '../../errors.js';
import type { Command } from '../commands.js';
import type { Frame } from '../dialect.js';
import type { SessionEvent } from '../events.js';
import { checkData, decodeBase64 } from '../fields.js';
import {
  type ClientType as FrameType,
  type ServerData,
  type ServerType,
  clientData as schemas,
} from './schema.js';

/** Numbers of segments stay below; at some seconds each that is more than an hour. */
export const maxSegments = 1000;

/** What a client asks, from its frame; FRAME_UNKNOWN, FRAME_INVALID, TEXT_TOO_LONG. */
export function decode(frame: Frame, maxText: number): Command {
  const { type, data } = frame;
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) {
    throw new CodedError(
      'FRAME_UNKNOWN',
      `type: expected one of ${Object.keys(schemas).join(', ')}; got ${shown(type)}`,
    );
  }
  return decoders[type as FrameType](data ?? {}, maxText);
}

const decoders: Record<FrameType, (data: unknown, maxText: number) => Command> = {
  text: (given, maxText) => {
    const { text } = checkData(schemas.text, given, 'text');
    if (text.length > maxText) {
      throw new CodedError(
        'TEXT_TOO_LONG',
        `text: a message has at most ${maxText} characters, this one has ${text.length}`,
      );
    }
    return { type: 'text', text };
  },
  recording_started: (given) => {
    const data = checkData(schemas.recording_started, given, 'recording_started');
    const voiceSessionId = named(data.voice_session_id);
    if (voiceSessionId === undefined) {
      throw invalid('recording_started: data.voice_session_id is missing');
    }
    return { type: 'recording-started', voiceSessionId };
  },
  audio_segment: (given) => {
    const ids = Type.Pick(schemas.audio_segment, ['voice_session_id', 'client_segment_id']);
    const { voice_session_id, client_segment_id } = checkData(ids, given, 'audio_segment');
    const own = named(voice_session_id);
    const clientId = named(client_segment_id);
    if (own === undefined && clientId === undefined) {
      throw invalid(
        'audio_segment: data.voice_session_id is missing, and there is no client_segment_id with it',
      );
    }
    const data = checkData(schemas.audio_segment, given, 'audio_segment');
    const index = Number(data.segment_index);
    if (index < 0 || index >= maxSegments) {
      throw invalid(
        `audio_segment: data.segment_index: expected an integer from 0 to ${maxSegments - 1}; got ${index}`,
      );
    }
    return {
      type: 'segment',
      voiceSessionId: own ?? voiceSessionIn(clientId as string, index),
      index,
      data: decodeBase64(data.audio_base64, 'audio_segment: data.audio_base64'),
      isLast: data.is_last === true,
      seconds: secondsOf(data.duration),
    };
  },
  audio_message: (given) => {
    const data = checkData(schemas.audio_message, given, 'audio_message');
    return {
      type: 'recording',
      data: decodeBase64(data.audio_base64, 'audio_message: data.audio_base64'),
      seconds: secondsOf(data.duration),
    };
  },
  transcribe_only: (given) => {
    const data = checkData(schemas.transcribe_only, given, 'transcribe_only');
    return {
      type: 'transcribe',
      data: decodeBase64(data.audio_base64, 'transcribe_only: data.audio_base64'),
    };
  },
  end_conversation: (given) => {
    checkData(schemas.end_conversation, given, 'end_conversation');
    return { type: 'end-conversation' };
  },
};

/**
 * The voice session in a segment's own id, which is that id, one of `_ - : / # .` and the segment's
 * index: `evening-walk_3`. `seg` or `segment` may stand before the index.
 */
function voiceSessionIn(clientSegmentId: string, index: number): string {
  const parts = /^(.+?)(?:[_:/#.-]seg(?:ment)?)?[_:/#.-](\d{1,9})$/i.exec(clientSegmentId);
  if (parts !== null && Number(parts[2]) === index) return parts[1] as string;
  throw invalid(
    `audio_segment: data.client_segment_id: without a voice_session_id this is expected to be ` +
      `the id of the voice session, "_" and the segment's index, ${index}; got ${shown(clientSegmentId)}`,
  );
}

/** The frame of an event; undefined for what this dialect does not tell. */
export function encode(event: SessionEvent, conversationId: string): object | undefined {
  const frame = <Name extends ServerType>(type: Name, data: ServerData<Name>) =>
    frameOf(type, conversationId, data);
  switch (event.type) {
    case 'connected':
      return frame('connect', { status: 'connected' });
    case 'recognised': {
      const { text, seconds } = event;
      return frame('transcript', { text, audio_duration: Math.round((seconds ?? 0) * 100) / 100 });
    }
    case 'transcribed':
      return frame('transcript', { text: event.text });
    case 'reply-text': {
      const { text, index, total } = event;
      return frame('agent_response', { text, index, total });
    }
    case 'error':
      return errorFrame(conversationId, event.code, event.message, event.retryAfter);
    case 'conversation-ended':
      return frame('end_conversation', { status: 'ended' });
    default:
      return undefined;
  }
}

export function errorFrame(
  conversationId: string,
  code: ErrorCode,
  message: string,
  retryAfter?: number,
): object {
  const retry_after = retryAfter === undefined ? {} : { retry_after: retryAfter };
  return frameOf('error', conversationId, { message, code, ...retry_after });
}

function frameOf<Name extends ServerType>(
  type: Name,
  conversationId: string,
  data: ServerData<Name>,
): object {
  return { type, conversation_id: conversationId, data, timestamp: new Date().toISOString() };
}

function named(id: string | number | null | undefined): string | undefined {
  const text = String(id ?? '').trim();
  return text === '' ? undefined : text;
}

function secondsOf(duration: string | number | null | undefined): number | undefined {
  const seconds = Number(duration ?? 0);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined;
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 100);
}

function invalid(message: string): CodedError {
  return new CodedError('FRAME_INVALID', message);
}
