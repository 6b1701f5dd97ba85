import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyPluginAsync, FastifyReply } from 'fastify';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { projectRoot } from '../paths.js';

export interface WebOptions {
  readonly log: Log;
  /** Where the built client lies. */
  readonly folder?: string;
}

/** Addresses that the client shows pages for; every other one is the server's own. */
const pages = ['/', '/studio', '/operator'];
const files = ['icon.svg', 'manifest.webmanifest'];

/**
 * Of pages alone, in place of what every other answer says. Portraits, voices and videos come from
 * this server, or from memory.
 */
const pageHeaders = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "font-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'microphone=(self), camera=(), geolocation=(), payment=(), usb=()',
  // A later version names its files anew.
  'cache-control': 'no-cache',
} as const;

/** The web client: its pages, and the files they are made of. */
export const webRoutes: FastifyPluginAsync<WebOptions> = async (
  app,
  { log, folder = join(projectRoot, 'dist', 'web') },
) => {
  if (!existsSync(join(folder, 'index.html'))) {
    log.warn('the web client is not built, so there are no pages: run "npm run setup"');
    for (const page of pages) {
      app.get(page, () => {
        throw new CodedError(
          'NOT_FOUND',
          'the web client is not built: run "npm run setup" and start the server again',
        );
      });
    }
    return;
  }
  await app.register(fastifyStatic, {
    root: folder,
    serve: false,
    cacheControl: false,
    index: false,
    dotfiles: 'ignore',
  });
  const page = (_request: unknown, reply: FastifyReply) =>
    reply.headers(pageHeaders).sendFile('index.html');
  for (const path of pages) app.get(path, page);
  for (const name of files) {
    app.get(`/${name}`, (_request, reply) =>
      reply.header('cache-control', 'public, max-age=3600').sendFile(name),
    );
  }
  app.get<{ Params: { '*': string } }>('/assets/*', (request, reply) =>
    // Named by their content.
    reply
      .header('cache-control', 'public, max-age=31536000, immutable')
      .sendFile(request.params['*'], join(folder, 'assets')),
  );
};
