import type { Static } from 'typebox';
import type * as schema from '../operator/schema.js';
import type { Http, RequestOptions } from './http.js';

export type OperatorStatus = Static<typeof schema.statusAnswer>;
export type Throughput = Static<typeof schema.throughputAnswer>;
export type Failures = Static<typeof schema.failuresAnswer>;
export type Requeued = Static<typeof schema.requeueAnswer>;
export type Dropped = Static<typeof schema.dropAnswer>;
export type OperatorCancel = Static<typeof schema.cancelAnswer>;

const root = '/api/operator';
const dead = (id: string) => `${root}/dead/${encodeURIComponent(id)}`;

/** For whoever runs the service. `token` gives OPERATOR_TOKEN, where the server wants one. */
export function operatorCalls(http: Http, token: () => string | undefined) {
  // an empty one: the login says nothing here
  const call = (options: RequestOptions | undefined) => ({ ...options, bearer: token() ?? '' });
  return {
    status: (options?: RequestOptions) =>
      http.json<OperatorStatus>('GET', `${root}/status`, call(options)),
    /** Points of the last minutes, one each. */
    throughput: (minutes?: number, options?: RequestOptions) =>
      http.json<Throughput>('GET', `${root}/throughput`, {
        ...call(options),
        query: { minutes },
      }),
    failures: (limit?: number, options?: RequestOptions) =>
      http.json<Failures>('GET', `${root}/failures`, { ...call(options), query: { limit } }),
    /** To the queue it came from, or to another device's. */
    requeue: (id: string, device?: number, options?: RequestOptions) =>
      http.json<Requeued>('POST', `${dead(id)}/requeue`, {
        ...call(options),
        body: device === undefined ? {} : { device },
      }),
    drop: (id: string, options?: RequestOptions) =>
      http.json<Dropped>('DELETE', dead(id), call(options)),
    cancel: (taskId: string, options?: RequestOptions) =>
      http.json<OperatorCancel>('POST', `${root}/tasks/${encodeURIComponent(taskId)}/cancel`, {
        ...call(options),
      }),
  };
}
