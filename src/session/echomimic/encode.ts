import type { ChatEntry, SessionEvent } from '../events.js';

/** A frame of the server; undefined for what this dialect has no words for. */
export function encode(event: SessionEvent, seq: number): object | undefined {
  const named = wire(event);
  return named === undefined ? undefined : { event: named[0], data: named[1], seq };
}

function wire(event: SessionEvent): [name: string, data: object] | undefined {
  switch (event.type) {
    case 'connected':
      return [
        'connection_ack',
        {
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
        },
      ];
    case 'recognised':
      return [
        'asr_result',
        {
          user_text: event.text,
          original_audio_url: event.audioUrl,
          turn_id: event.turn,
        },
      ];
    case 'reply-audio':
      return [
        'tts_audio',
        {
          ai_text: event.text,
          audio_url: event.audioUrl,
          turn_id: event.turn,
          index: event.index,
          is_last: event.isLast,
        },
      ];
    case 'task-submitted':
      return [
        'task_submitted',
        {
          task_id: event.taskId,
          message: event.message,
          position: event.position,
          turn_id: event.turn,
        },
      ];
    case 'task-progress':
      return [
        'task_progress',
        {
          task_id: event.taskId,
          status: event.status,
          percentage: event.percentage,
          message: event.message,
          turn_id: event.turn,
        },
      ];
    case 'task-result':
      return [
        'task_result',
        {
          task_id: event.taskId,
          status: 'completed',
          video_url: event.videoUrl,
          turn_id: event.turn,
        },
      ];
    case 'interrupted':
      return ['reply_interrupted', { turn_id: event.turn }];
    case 'error':
      return [
        'error',
        {
          code: event.code,
          message: event.message,
          retry_after: event.retryAfter,
          task_id: event.taskId,
          turn_id: event.turn,
        },
      ];
    case 'stopped':
      return ['session_stopped_ack', { message: event.message }];
    default:
      return undefined;
  }
}

function chatEntry({ speaker, text, audioUrl, videoUrl }: ChatEntry): object {
  return { type: speaker, text, audio_url: audioUrl, video_url: videoUrl };
}
