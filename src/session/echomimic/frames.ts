import { CodedError } from '../../errors.js';
import { uuid } from '../../tempfile/shelf.js';
import type { Command } from '../commands.js';
import type { Frame } from '../dialect.js';
import { checkData, decodeBase64 } from '../fields.js';
import { type ClientData, type ClientEvent, type ConnectionRequest, clientData } from './schema.js';

export type ClientFrame =
  | { readonly event: 'request_connection'; readonly data: ConnectionRequest }
  | {
      readonly event: Exclude<ClientEvent, 'request_connection'>;
      readonly sessionId: string | undefined;
      readonly command: Command;
    };

/** Reads a frame; throws FRAME_MALFORMED, FRAME_UNKNOWN, FRAME_INVALID or TEXT_TOO_LONG. */
export function readFrame(frame: Frame, maxText: number): ClientFrame {
  const { event, data = {} } = frame;
  if (typeof event !== 'string') {
    throw new CodedError(
      'FRAME_MALFORMED',
      'a frame is {"event": name, "data": {...}}; this one has no event',
    );
  }
  if (!Object.hasOwn(clientData, event)) {
    throw new CodedError(
      'FRAME_UNKNOWN',
      `there is no event ${JSON.stringify(event.slice(0, 60))}; known are ${Object.keys(clientData).join(', ')}`,
    );
  }
  const name = event as ClientEvent;
  if (name === 'request_connection') return { event: name, data: readRequest(data) };
  if (name === 'audio_uploaded') {
    const { session_id, audio_url } = check(name, data);
    const fileId = fileIdOf(audio_url, 'audio_url');
    return { event: name, sessionId: session_id, command: { type: 'upload', fileId } };
  }
  if (name === 'audio_stream_chunk') {
    const { session_id, chunk, is_last: isLast, format } = check(name, data);
    const piece = decodeBase64(chunk, 'chunk');
    const command: Command = { type: 'chunk', data: piece, isLast, format };
    return { event: name, sessionId: session_id, command };
  }
  if (name === 'text_message') {
    const { session_id, text } = check(name, data);
    return {
      event: name,
      sessionId: session_id,
      command: { type: 'text', text: checkText(text, maxText) },
    };
  }
  const { session_id } = check(name, data);
  const type = name === 'interrupt' ? 'interrupt' : 'stop';
  return { event: name, sessionId: session_id, command: { type } };
}

/** The same as `request_connection` in the query of the upgrade; undefined when it holds none. */
export function readQuery(query: Readonly<Record<string, string>>): ConnectionRequest | undefined {
  if (query['mode'] === undefined && query['resume_token'] === undefined) return undefined;
  const numbers = ['speech_rate', 'pitch_rate', 'last_seq'];
  const data = Object.entries(query).map(([key, text]) => [
    key,
    numbers.includes(key) && text.trim() !== '' ? Number(text) : text,
  ]);
  return readRequest(Object.fromEntries(data));
}

function readRequest(data: unknown): ConnectionRequest {
  const request = check('request_connection', data);
  const resumes = request.resume_token !== undefined;
  if (resumes !== (request.session_id !== undefined)) {
    throw invalid(
      'request_connection: session_id and resume_token are given together or not at all',
    );
  }
  if (!resumes && request.mode === undefined) {
    throw invalid('request_connection: mode is missing: it must be "voice" or "video"');
  }
  return request;
}

function check<Name extends ClientEvent>(event: Name, data: unknown): ClientData<Name> {
  // some clients write null for what they leave out
  const given =
    typeof data === 'object' && data !== null && !Array.isArray(data)
      ? Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null))
      : data;
  return checkData(clientData[event], given, event);
}

function checkText(text: string, maxText: number): string {
  if (text.trim() === '') throw invalid('text_message: text must say something; it is empty');
  if (text.length > maxText) {
    throw new CodedError(
      'TEXT_TOO_LONG',
      `the text has ${text.length} characters; at most ${maxText} are accepted`,
    );
  }
  return text;
}

const download = /\/api\/tempfile\/download\/([^/]+)\/?$/;

/** The id in one of our download URLs, whatever name of this host the client used; or a bare id. */
export function fileIdOf(text: string, field: string): string {
  let id = text.trim();
  if (id.includes('/')) {
    const path = URL.canParse(id, 'http://localhost')
      ? new URL(id, 'http://localhost').pathname
      : '';
    id = download.exec(path)?.[1] ?? '';
  }
  id = id.toLowerCase();
  if (uuid.test(id)) return id;
  throw invalid(
    `${field} must be one of this server's download URLs or a file_id, not ${brief(text)}`,
  );
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

function invalid(message: string): CodedError {
  return new CodedError('FRAME_INVALID', message);
}
