import type { FastifyInstance } from 'fastify';
import type { Test } from 'tap';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import type { SocketClient } from '../../scripts/socket-client.js';
import { type FrameSchema, frameSchemas } from '../../src/contract/frames.js';

/** Checks what a running server says against what it says of itself. */

interface Check {
  Check(value: unknown): boolean;
  Errors(value: unknown): unknown[];
}
interface Media {
  readonly schema: TSchema;
}
interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Record<string, Media> }>>;
}
interface Watched {
  readonly t: Test;
  /** By method and path, those without parameters first. */
  readonly operations: readonly { matches(route: string): boolean; operation: Operation }[];
}

const checks = new WeakMap<object, Check>();
function complaint(schema: TSchema, value: unknown): string | undefined {
  let check = checks.get(schema);
  if (check === undefined) checks.set(schema, (check = Compile(schema)));
  return check.Check(value) ? undefined : JSON.stringify(check.Errors(value).slice(0, 3));
}

const watched = new Map<string, Watched>();
const plainFetch = globalThis.fetch;

/** From now on every JSON answer that this process fetches from `url` has to be a documented one. */
export function watchAnswers(t: Test, app: FastifyInstance, url: string): void {
  const { paths } = app.swagger() as object as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(paths)
    .sort(([a], [b]) => Number(a.includes('{')) - Number(b.includes('{')))
    .flatMap(([path, methods]) => {
      const pattern = path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+');
      return Object.entries(methods).map(([method, operation]) => {
        const wanted = new RegExp(`^${method} ${pattern}/?$`, 'i');
        return { matches: (route: string) => wanted.test(route), operation };
      });
    });
  watched.set(url, { t, operations });
  t.teardown(() => watched.delete(url));
  globalThis.fetch = watchingFetch;
}

const watchingFetch: typeof fetch = async (input, init) => {
  const response = await plainFetch(input, init);
  const { origin, pathname } = new URL(response.url);
  const server = watched.get(origin);
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
  if (server === undefined || !isJson || method === 'HEAD') return response;
  const route = `${method} ${pathname}`;
  const found = server.operations.find(({ matches }) => matches(route))?.operation;
  if (found === undefined) {
    if (response.ok) server.t.fail(`${route} is not documented`);
    return response;
  }
  const text = await response.text();
  const answer = found.responses[String(response.status)] ?? found.responses['default'];
  const { schema } = answer?.content?.['application/json'] ?? {};
  const why =
    schema === undefined ? 'this status is not documented' : complaint(schema, JSON.parse(text));
  if (why !== undefined) server.t.fail(`${route} ${response.status}: ${why}`, { text });
  const { status, statusText, headers } = response;
  return Object.defineProperty(new Response(text, { status, statusText, headers }), 'url', {
    value: response.url,
  });
};

/** From now on every frame that comes has to be one of this dialect's, and have no other members. */
export function watchFrames(t: Test, dialect: FrameSchema['dialect'], { socket }: SocketClient) {
  socket.on('message', (data: Buffer) => {
    const text = data.toString('utf8');
    const why = wrongFrame(dialect, JSON.parse(text) as Record<string, unknown>);
    if (why !== undefined) t.fail(`a frame of ${dialect}: ${why}`, { text });
  });
}

const strictSchemas = new Map<FrameSchema, TSchema>();

function wrongFrame(
  dialect: FrameSchema['dialect'],
  frame: Record<string, unknown>,
): string | undefined {
  const name = frame[dialect === 'echomimic' ? 'event' : 'type'];
  const found = frameSchemas.find(
    (one) => one.dialect === dialect && one.from === 'server' && one.name === name,
  );
  if (found === undefined) return `there is no frame ${JSON.stringify(name)}`;
  const schema = strictSchemas.get(found) ?? (strict(found.schema) as TSchema);
  strictSchemas.set(found, schema);
  return complaint(schema, frame);
}

/** The same schema, which lets no object have members that it does not name. */
function strict(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(strict);
  const inner = Object.entries(schema).map(([key, value]) => [key, strict(value)] as const);
  const isObject = (schema as { type?: unknown }).type === 'object';
  return { ...Object.fromEntries(inner), ...(isObject ? { additionalProperties: false } : {}) };
}
