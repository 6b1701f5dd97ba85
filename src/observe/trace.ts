import type { Attributes, Context, Span, SpanKind, TimeInput, Tracer } from '@opentelemetry/api';
import type { Config } from '../config.js';
import { codeOf } from '../errors.js';
import type { Log } from '../log.js';
import { currentScope, inScope } from './scope.js';
import { readTraceparent } from './traceparent.js';

/**
 * Traces of OpenTelemetry. Without OTEL_EXPORTER_OTLP_ENDPOINT nothing of it is loaded, and every
 * function here does no more than call the work.
 */

type Kind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

export interface SpanOptions {
  readonly attributes?: Attributes | undefined;
  readonly kind?: Kind | undefined;
  /** In place of the span of now: a W3C traceparent, or null for a trace of its own. */
  readonly parent?: string | null | undefined;
  /** ms since 1970 */
  readonly startTime?: number | undefined;
}

interface Tracing {
  readonly tracer: Tracer;
  readonly api: typeof import('@opentelemetry/api');
}

let tracing: Tracing | undefined;

/** How long the last spans of a process may take to be sent. */
const partingMs = 2000;
/** How often it is told that they cannot be sent. */
const complainMs = 60_000;

/** Begins tracing where the settings say so; returns what ends it. `part`: `api` or `worker`. */
export async function startTracing(
  { tracing: settings }: Pick<Config, 'tracing'>,
  part: 'api' | 'worker',
  log: Log,
): Promise<() => Promise<void>> {
  if (settings === undefined) return async () => {};
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  let complainedAt = -Infinity;
  const complain = (message: string) => {
    if (performance.now() - complainedAt < complainMs) return;
    complainedAt = performance.now();
    log.warn({ reason: message.slice(0, 500) }, 'traces cannot be sent');
  };
  const quiet = () => undefined;
  api.diag.setLogger(
    { error: complain, warn: quiet, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: api.DiagLogLevel.ERROR, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter({
    url: settings.url,
    headers: { ...settings.headers },
    timeoutMillis: 5000,
  });
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({
      'service.name': `${settings.serviceName}-${part}`,
      'service.namespace': settings.serviceName,
      'process.pid': process.pid,
    }),
    sampler: new sdk.ParentBasedSampler({
      root: new sdk.TraceIdRatioBasedSampler(settings.ratio),
    }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter, scheduledDelayMillis: 1000 })],
  });
  tracing = { api, tracer: provider.getTracer('echomimic-server') };
  return async () => {
    tracing = undefined;
    const late = new Promise<void>((resolve) => setTimeout(resolve, partingMs).unref());
    const sent = provider.shutdown().catch((error: unknown) => complain(String(error)));
    await Promise.race([sent, late]);
  };
}

/** A span that is ended by hand. */
export class OpenSpan {
  readonly #span: Span;
  #isOver = false;

  constructor(span: Span) {
    this.#span = span;
  }

  get traceparent(): string {
    return traceparentOf(this.#span);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  /** Does `work` as a part of it. */
  run<T>(work: () => T): T {
    return inScope({ ids: currentScope()?.ids ?? {}, span: this.#span }, work);
  }

  /** Once; with what went wrong, where anything did. Messages may hold what users said: the code must do. */
  end(error?: unknown, endTime?: TimeInput): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (error !== undefined) {
      const code = codeOf(error);
      this.#span.setAttribute('error.type', code);
      this.#span.setStatus({ code: 2, message: code });
    }
    this.#span.end(endTime);
  }
}

/** Undefined where nothing is traced. */
export function beginSpan(name: string, options: SpanOptions = {}): OpenSpan | undefined {
  if (tracing === undefined) return undefined;
  const { api, tracer } = tracing;
  const { attributes = {}, kind = 'internal', startTime } = options;
  const started = tracer.startSpan(
    name,
    {
      ...{ attributes, kind: api.SpanKind[kind.toUpperCase() as keyof typeof SpanKind] },
      ...(startTime === undefined ? {} : { startTime }),
    },
    parentContext(tracing, options.parent),
  );
  return new OpenSpan(started);
}

/** Does `work` in a span of its own, where anything is traced. */
export async function traced<T>(
  name: string,
  options: SpanOptions,
  work: () => Promise<T>,
): Promise<T> {
  const span = beginSpan(name, options);
  if (span === undefined) return work();
  try {
    const result = await span.run(work);
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

/** Of the span of now, for whoever goes on with the work elsewhere. */
export function traceparent(): string | undefined {
  const span = currentScope()?.span;
  return span === undefined ? undefined : traceparentOf(span);
}

function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

function parentContext({ api }: Tracing, parent: string | null | undefined): Context {
  const { ROOT_CONTEXT: root, trace } = api;
  if (parent === undefined) {
    const span = currentScope()?.span;
    return span === undefined ? root : trace.setSpan(root, span);
  }
  const remote = readTraceparent(parent);
  return remote === undefined ? root : trace.setSpanContext(root, { ...remote, isRemote: true });
}
