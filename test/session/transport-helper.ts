import { once } from 'node:events';
import { type Socket as NetSocket, connect as connectLine } from 'node:net';
import fastify, { type FastifyServerOptions } from 'fastify';
import type { Test } from 'tap';
import { loadConfig } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { LocalCounts } from '../../src/limit/counts.js';
import type {
  ClientSocket,
  Connection,
  ConnectionEnd,
  Dialect,
  Frame,
} from '../../src/session/dialect.js';
import { registerSockets } from '../../src/session/socket/transport.js';

export interface Seen {
  readonly socket: ClientSocket;
  readonly frames: Frame[];
  end: ConnectionEnd | undefined;
}

export interface EchoServer {
  readonly url: string;
  readonly seen: Seen[];
  readonly openCount: () => number;
  close(): Promise<void>;
}

export interface EchoOptions {
  readonly settings?: Record<string, string>;
  readonly stuckMs?: number;
  readonly stop?: () => Promise<void>;
  readonly ready?: () => Promise<unknown>;
  /** Known from the start. */
  readonly isOpenToAll?: boolean;
  readonly server?: FastifyServerOptions;
}

/** The real transport under a dialect that only says back what it hears. */
export async function startEcho(t: Test, options: EchoOptions = {}): Promise<EchoServer> {
  const config = loadConfig({ DATA_DIR: '/nowhere', LOG_LEVEL: 'silent', ...options.settings });
  const seen: Seen[] = [];
  const dialect: Dialect = {
    name: 'echomimic',
    error: (_socket, code, message) => ({ event: 'error', data: { code, message } }),
    connect: (socket): Connection => {
      const one: Seen = { socket, frames: [], end: undefined };
      seen.push(one);
      if (options.isOpenToAll ?? true) socket.welcome();
      if (socket.query['fail'] !== undefined) throw new Error('this connection fails');
      return {
        ready: options.ready?.(),
        frame: (frame) => {
          one.frames.push(frame);
          return answer(socket, frame);
        },
        closed: (end) => {
          one.end = end;
        },
      };
    },
  };
  const app = fastify(options.server ?? {});
  app.setErrorHandler((error, _request, reply) => {
    const { status, code, message } = error as CodedError;
    return reply.code(status).send({ success: false, message, code });
  });
  app.get('/plain', async () => ({ plain: true }));
  const { open } = await registerSockets(app, {
    config,
    log: createLog('silent'),
    counts: new LocalCounts(),
    takePass: async () => undefined,
    routes: [
      { url: '/ws', dialect },
      { url: '/ws/conversation/:id', dialect },
    ],
    stop: options.stop ?? (async () => {}),
    stuckMs: options.stuckMs,
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  t.teardown(close);
  return { url, seen, openCount: () => open.size, close };
}

async function answer(socket: ClientSocket, frame: Frame): Promise<void> {
  switch (frame['event']) {
    case 'hello':
      return socket.welcome(frame['expiresAt'] as number | undefined);
    case 'refused':
      throw new CodedError('FRAME_INVALID', 'data.x: expected a number');
    case 'busy':
      throw new CodedError('TOO_MANY_TURNS', 'wait');
    case 'broken':
      throw new Error('a secret detail');
    case 'slow':
      await new Promise((resolve) => setTimeout(resolve, 50));
      return socket.send({ event: 'slow done' });
    case 'close':
      return socket.close(1000, 'as asked');
    case 'many':
      // More than a paused client and the kernel's buffers take.
      for (let i = 0; i < Number(frame['count']); i++) {
        const padding = 'x'.repeat(Number(frame['bytes']));
        const key = frame['key'] as string | undefined;
        socket.send({ event: 'part', i, padding }, { coalesce: key });
      }
      return socket.send({ event: 'all sent' });
    default:
      return socket.send({ event: 'echo', frame });
  }
}

/** An upgrade made by hand: what a client library would hide. */
export async function upgrade(
  url: string,
  path = '/ws',
  headers: Record<string, string> = {},
): Promise<{ line: NetSocket; head: string }> {
  const { hostname, port } = new URL(url);
  const line = connectLine({ host: hostname, port: Number(port) });
  await once(line, 'connect');
  line.on('error', () => undefined);
  const all = {
    Host: `${hostname}:${port}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  line.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  let head = '';
  for await (const chunk of line.iterator({ destroyOnReturn: false })) {
    head += (chunk as Buffer).toString('latin1');
    const body = head.split('\r\n\r\n')[1];
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (body !== undefined && body.length >= length) break;
  }
  return { line, head };
}
