export { EchoMimicClient, type ClientOptions } from './client.js';
export { ApiError, type ClientCode } from './errors.js';
export type { RequestOptions } from './http.js';
export type { WebSocketConstructor } from './line.js';
export {
  EchoMimicSession,
  type SessionEvents,
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
