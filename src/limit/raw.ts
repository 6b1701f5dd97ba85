import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type ErrorCode, errorCodes, retryAfterOf } from '../errors.js';
import { meters } from '../observe/meters.js';

/** Headers of every answer: nothing of this server is a page, or part of one. */
export const safeHeaders = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** What a line that says nothing gets once the server closes. */
const lastWordMs = 1000;

/** An answer where no request came to be, or can be answered as usual; then the line closes. */
export function answerRaw(line: Duplex, code: ErrorCode, message: string): void {
  meters.errors.inc({ code, via: 'http' });
  if (!line.writable) return void line.destroy();
  const body = JSON.stringify({ success: false, message, code });
  const { status } = errorCodes[code];
  const retryAfter = retryAfterOf(code);
  line.end(
    [
      `HTTP/1.1 ${status} ${code}`,
      'Connection: close',
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...Object.entries(safeHeaders).map(([name, value]) => `${name}: ${value}`),
      ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
      '',
      body,
    ].join('\r\n'),
  );
  line.once('finish', () => line.destroy()).on('error', () => line.destroy());
}

/**
 * Cuts the lines on which no request ever came when the app closes. Node takes them for busy, until
 * their time for headers is over, and would not close before.
 */
export function cutSilentLines(app: FastifyInstance): void {
  const server: Server = app.server;
  const silent = new Set<Socket>();
  const known = new WeakSet<Socket>();
  let isClosing = false;
  server.prependListener('connection', (line: Socket) => {
    // One that offered an upgrade comes again with its request.
    if (known.has(line)) return;
    known.add(line);
    silent.add(line);
    line.once('close', () => silent.delete(line));
    if (isClosing) cutSoon(line);
  });
  for (const event of ['request', 'upgrade']) {
    server.prependListener(event, ({ socket }: { socket: Socket }) => silent.delete(socket));
  }
  app.addHook('preClose', async () => {
    isClosing = true;
    for (const line of silent) cutSoon(line);
  });

  function cutSoon(line: Socket): void {
    setTimeout(() => silent.has(line) && line.destroy(), lastWordMs).unref();
  }
}
