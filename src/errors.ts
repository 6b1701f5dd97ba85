/**
 * Every failure this project reports has one of these codes. Codes never change meaning; messages
 * may. `status` is the HTTP status used when the failure answers a request; `retryAfter` the
 * seconds after which it is worth trying again, where nothing more exact is known.
 */
export const errorCodes = {
  // requests and temp files
  BAD_REQUEST: { status: 400 },
  NOT_FOUND: { status: 404 },
  INTERNAL: { status: 500 },
  UNAUTHORIZED: { status: 401 },
  FILE_MISSING: { status: 400 },
  FILE_EMPTY: { status: 400 },
  FILE_NOT_FOUND: { status: 404 },
  FILE_EXISTS: { status: 409 },
  FILE_TOO_LARGE: { status: 413 },
  FORM_TOO_LARGE: { status: 413 },
  FILE_TYPE_UNSUPPORTED: { status: 415 },
  STORAGE_FULL: { status: 507 },
  STORAGE_UNAVAILABLE: { status: 503, retryAfter: 5 },
  REQUEST_TIMEOUT: { status: 408 },
  HEADERS_TOO_LARGE: { status: 431 },
  // limits of users and addresses
  RATE_LIMITED: { status: 429, retryAfter: 10 },
  TOO_MANY_CONNECTIONS: { status: 429, retryAfter: 5 },
  TOO_MANY_UPLOADS: { status: 429, retryAfter: 5 },
  STORAGE_QUOTA_EXCEEDED: { status: 429, retryAfter: 60 },
  TOO_MANY_TASKS: { status: 429, retryAfter: 10 },
  // accounts, roles, conversations
  FORBIDDEN: { status: 403 },
  TOKEN_INVALID: { status: 401 },
  TOKEN_EXPIRED: { status: 401 },
  LOGIN_FAILED: { status: 401 },
  LOGIN_THROTTLED: { status: 429, retryAfter: 60 },
  REGISTRATION_CLOSED: { status: 403 },
  USERNAME_TAKEN: { status: 409 },
  ROLE_NOT_FOUND: { status: 404 },
  TOO_MANY_ROLES: { status: 409 },
  CONSENT_REQUIRED: { status: 400 },
  CONVERSATION_NOT_FOUND: { status: 404 },
  CONVERSATION_EXISTS: { status: 409 },
  CONVERSATION_DELETED: { status: 410 },
  TOO_MANY_CONVERSATIONS: { status: 409 },
  QUOTA_EXCEEDED: { status: 429, retryAfter: 3600 },
  DATABASE_UNAVAILABLE: { status: 503, retryAfter: 5 },
  // sessions
  FRAME_MALFORMED: { status: 400 },
  FRAME_UNKNOWN: { status: 400 },
  FRAME_INVALID: { status: 400 },
  FRAME_TOO_LARGE: { status: 413 },
  FRAME_RATE_EXCEEDED: { status: 429, retryAfter: 1 },
  UPGRADE_REQUIRED: { status: 426 },
  ORIGIN_REFUSED: { status: 403 },
  AUTH_TIMEOUT: { status: 408 },
  IDLE_TIMEOUT: { status: 408 },
  TOO_MANY_SESSIONS: { status: 429, retryAfter: 10 },
  CLIENT_TOO_SLOW: { status: 408 },
  SERVER_STOPPING: { status: 503, retryAfter: 5 },
  SESSION_NOT_CONNECTED: { status: 409 },
  SESSION_UNKNOWN: { status: 404 },
  SESSION_REPLACED: { status: 409 },
  TOO_MANY_TURNS: { status: 429, retryAfter: 5 },
  SESSION_ELSEWHERE: { status: 503, retryAfter: 5 },
  SEGMENT_MISSING: { status: 408 },
  TEXT_TOO_LONG: { status: 413 },
  PORTRAIT_MISSING: { status: 400 },
  // speech and dialogue services
  ASR_FAILED: { status: 502 },
  ASR_UNAVAILABLE: { status: 503, retryAfter: 30 },
  RECORDING_ABANDONED: { status: 408 },
  SPEECH_NOT_UNDERSTOOD: { status: 422 },
  TTS_FAILED: { status: 502 },
  TTS_UNAVAILABLE: { status: 503, retryAfter: 30 },
  DIALOGUE_FAILED: { status: 502 },
  DIALOGUE_UNAVAILABLE: { status: 503, retryAfter: 30 },
  PROVIDER_REFUSED: { status: 502 },
  PROVIDER_TIMEOUT: { status: 504 },
  // configuration and start-up
  CONFIG_INVALID: { status: 500 },
  DATA_FOLDER_IN_USE: { status: 500 },
  PORT_IN_USE: { status: 500 },
  PROCESSES_DIFFER: { status: 500 },
  REDIS_SERVER_MISSING: { status: 500 },
  REDIS_UNAVAILABLE: { status: 503, retryAfter: 5 },
  MODEL_MISSING: { status: 500 },
  // tasks
  TASK_MALFORMED: { status: 400 },
  TASK_INVALID: { status: 400 },
  TASK_NOT_FOUND: { status: 404 },
  TASK_FILE_NOT_FOUND: { status: 404 },
  TASK_FILE_WRONG_TYPE: { status: 400 },
  TASK_DOWNLOAD_FAILED: { status: 502 },
  TASK_UPLOAD_FAILED: { status: 502 },
  TASK_ATTEMPTS_EXHAUSTED: { status: 500 },
  TASK_STALLED: { status: 500 },
  TASK_CANCELLED: { status: 499 },
  TASK_QUEUE_FULL: { status: 503, retryAfter: 30 },
  NO_WORKER_AVAILABLE: { status: 503, retryAfter: 10 },
  // native engine: the same strings stand in native/engine/error.h
  ENGINE_OPTION_INVALID: { status: 400 },
  ENGINE_MODEL_INVALID: { status: 500 },
  ENGINE_RUNTIME_MISSING: { status: 500 },
  ENGINE_DEVICE_UNAVAILABLE: { status: 500 },
  ENGINE_DEVICE_UNSUPPORTED: { status: 500 },
  ENGINE_DEVICE_LOST: { status: 500 },
  ENGINE_OUT_OF_MEMORY: { status: 500 },
  ENGINE_BUSY: { status: 503, retryAfter: 5 },
  ENGINE_DISPOSED: { status: 500 },
  ENGINE_CANCELLED: { status: 499 },
  ENGINE_FAILED: { status: 500 },
  // weights: checkpoints and imported models
  CHECKPOINT_FILE_MISSING: { status: 500 },
  CHECKPOINT_FORMAT_INVALID: { status: 500 },
  CHECKPOINT_UNSAFE_PICKLE: { status: 500 },
  CHECKPOINT_KEY_MISSING: { status: 500 },
  CHECKPOINT_KEY_UNKNOWN: { status: 500 },
  CHECKPOINT_SHAPE_MISMATCH: { status: 500 },
  MODEL_WRITE_FAILED: { status: 500 },
  MODEL_INVALID: { status: 500 },
  // media files and the tools that read and write them
  MEDIA_TOOL_MISSING: { status: 500 },
  MEDIA_TOOL_FAILED: { status: 500 },
  MEDIA_TIMEOUT: { status: 500 },
  MEDIA_CANCELLED: { status: 499 },
  AUDIO_UNREADABLE: { status: 422 },
  AUDIO_UNSUPPORTED: { status: 415 },
  AUDIO_EMPTY: { status: 422 },
  AUDIO_SILENT: { status: 422 },
  AUDIO_TOO_LONG: { status: 413 },
  IMAGE_UNREADABLE: { status: 422 },
  IMAGE_TOO_SMALL: { status: 422 },
  IMAGE_TOO_LARGE: { status: 413 },
  FACE_DETECTION_FAILED: { status: 500 },
  VIDEO_ENCODE_FAILED: { status: 500 },
  VIDEO_ENCODER_UNAVAILABLE: { status: 500 },
} as const satisfies Record<string, FailureKind>;

interface FailureKind {
  readonly status: number;
  readonly retryAfter?: number;
}

export type ErrorCode = keyof typeof errorCodes;

export interface CodedErrorOptions extends ErrorOptions {
  /** More exact than that of the code. */
  readonly retryAfterSeconds?: number | undefined;
}

/** An error with a stable code; the message says what was expected, what arrived and what to do. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  /** When to try again; undefined where that would change nothing. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: CodedErrorOptions = {}) {
    super(message, options);
    this.name = 'CodedError';
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds ?? retryAfterOf(code);
  }

  get status(): number {
    return errorCodes[this.code].status;
  }
}

export function retryAfterOf(code: ErrorCode): number | undefined {
  const kind: FailureKind = errorCodes[code];
  return kind.retryAfter;
}

/** The code of any thrown value; INTERNAL when it carries none of ours. */
export function codeOf(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return 'INTERNAL';
  // Node's words about a command's options, which say what is wrong with them.
  if (code.startsWith('ERR_PARSE_ARGS_')) return 'BAD_REQUEST';
  return Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'INTERNAL';
}
