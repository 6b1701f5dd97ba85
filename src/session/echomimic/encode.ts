import type { ChatEntry, SessionEvent } from '../events.js';
import type { ServerData, ServerEvent } from './schema.js';

/** What may be left out may be undefined as well: JSON knows no difference. */
type Sent<T> = T extends readonly (infer Item)[]
  ? readonly Sent<Item>[]
  : T extends object
    ? { [Key in keyof T]: object extends Pick<T, Key> ? Sent<T[Key]> | undefined : Sent<T[Key]> }
    : T;

/** A frame of the server; undefined for what this dialect has no words for. */
export function encode(event: SessionEvent, seq: number): object | undefined {
  const frame = <Name extends ServerEvent>(name: Name, data: Sent<ServerData<Name>>) => ({
    event: name,
    data,
    seq,
  });
  switch (event.type) {
    case 'connected':
      return frame('connection_ack', {
        session_id: event.sessionId,
        mode: event.mode,
        ai_role: {
          role_id: event.role.id,
          name: event.role.name,
          personality: event.role.personality,
          image_url: event.role.imageUrl,
        },
        chat_history: event.history.map(chatEntry),
        conversation_id: event.conversationId,
        resume_token: event.resumeToken,
        resumed: event.resumed,
      });
    case 'recognised':
      return frame('asr_result', {
        user_text: event.text,
        original_audio_url: event.audioUrl,
        turn_id: event.turn,
      });
    case 'reply-audio':
      return frame('tts_audio', {
        ai_text: event.text,
        audio_url: event.audioUrl,
        turn_id: event.turn,
        index: event.index,
        is_last: event.isLast,
      });
    case 'task-submitted':
      return frame('task_submitted', {
        task_id: event.taskId,
        message: event.message,
        position: event.position,
        turn_id: event.turn,
      });
    case 'task-progress':
      return frame('task_progress', {
        task_id: event.taskId,
        status: event.status,
        percentage: event.percentage,
        position: event.position,
        message: event.message,
        turn_id: event.turn,
      });
    case 'task-result':
      return frame('task_result', {
        task_id: event.taskId,
        status: 'completed',
        video_url: event.videoUrl,
        turn_id: event.turn,
      });
    case 'interrupted':
      return frame('reply_interrupted', { turn_id: event.turn });
    case 'error':
      return frame('error', {
        code: event.code,
        message: event.message,
        retry_after: event.retryAfter,
        task_id: event.taskId,
        turn_id: event.turn,
      });
    case 'stopped':
      return frame('session_stopped_ack', { message: event.message });
    default:
      return undefined;
  }
}

function chatEntry({ speaker, text, audioUrl, videoUrl }: ChatEntry) {
  return { type: speaker, text, audio_url: audioUrl, video_url: videoUrl };
}
