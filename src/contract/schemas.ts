import type { TSchema } from 'typebox';
import { failureAnswer } from '../answers.js';
import { taskSchema } from '../queue/schema.js';
import { taskUpdate } from '../queue/update.js';
import { type FrameSchema, frameSchemas } from './frames.js';

/** `echomimic-server-task-progress` */
export function schemaName({ dialect, from, name }: FrameSchema): string {
  return `${dialect}-${from}-${name.replaceAll('_', '-')}`;
}

/** What stands at `/schemas/{name}.json`. */
export const publishedSchemas: ReadonlyMap<string, TSchema> = new Map<string, TSchema>([
  ['task', { ...taskSchema, title: 'A task, as it is pushed on a queue of Redis' }],
  ['task-update', { ...taskUpdate, title: 'What becomes of a task' }],
  ['failure', { ...failureAnswer, title: 'The answer to a request that failed' }],
  ...frameSchemas.map((frame): [string, TSchema] => [
    schemaName(frame),
    { ...frame.schema, title: `${frame.name}, a frame of ${frame.dialect} ${frame.from}s` },
  ]),
]);
