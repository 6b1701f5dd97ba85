import { AsyncLocalStorage } from 'node:async_hooks';
import type { Span } from '@opentelemetry/api';

/** Names of what is being worked on: request, connection, session, turn, task. */
export type Ids = Readonly<Record<string, string | number | undefined>>;

/** What holds for everything that some work calls, however deep. */
export interface Scope {
  readonly ids: Ids;
  readonly span?: Span | undefined;
}

const storage = new AsyncLocalStorage<Scope>();

export function currentScope(): Scope | undefined {
  return storage.getStore();
}

export function inScope<T>(scope: Scope, work: () => T): T {
  return storage.run(scope, work);
}

/** Does `work`; every line of the log that it writes carries these ids too. */
export function withIds<T>(ids: Ids, work: () => T): T {
  const outer = storage.getStore();
  return storage.run({ ids: { ...outer?.ids, ...ids }, span: outer?.span }, work);
}

/** As `withIds`, for work that does not belong to whoever happens to begin it. */
export function withOnlyIds<T>(ids: Ids, work: () => T): T {
  return storage.run({ ids }, work);
}

/** What a line of the log says of its origin. */
export function idsOfNow(): Record<string, unknown> {
  const scope = storage.getStore();
  if (scope === undefined) return {};
  if (scope.span === undefined) return { ...scope.ids };
  return { ...scope.ids, trace: scope.span.spanContext().traceId };
}
