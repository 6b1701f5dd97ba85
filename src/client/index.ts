export { EchoMimicClient, type ClientOptions } from './client.js';
export { ApiError, type ClientCode } from './errors.js';
export type { RequestOptions } from './http.js';
export type { WebSocketConstructor } from './line.js';
export {
  EchoMimicSession,
  type SessionEvents,
  type SessionMark,
  type SessionOptions,
  type SessionState,
} from './session.js';
export type {
  CancelledTask,
  CreatedTask,
  NewTask,
  Task,
  TaskOptions,
  TaskUpdate,
  TasksAnswer,
  WatchOptions,
} from './tasks.js';
export { type TokenStore, type Tokens, memoryStore } from './tokens.js';
export type { UploadOptions } from './upload.js';
export type { Account, UsageAnswer } from '../account/http-schema.js';
export type { Conversation, Message } from '../conversation/http-schema.js';
export type { Role } from '../role/http-schema.js';
export type { ServerData, ServerEvent, ServerFrame } from '../session/echomimic/schema.js';
export type { UploadAnswer } from '../tempfile/http-schema.js';
export type { Info } from '../web/http-schema.js';
export type { Failures, OperatorStatus, Throughput } from './operator.js';
