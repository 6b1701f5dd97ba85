import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { failures } from '../answers.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { projectRoot } from '../paths.js';
import { infoAnswer } from './http-schema.js';

export interface WebOptions {
  readonly config: Config;
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

/** The web client: its pages, the files they are made of, and what they ask first. */
export const webRoutes: FastifyPluginAsyncTypebox<WebOptions> = async (
  app,
  { config, log, folder = join(projectRoot, 'dist', 'web') },
) => {
  app.get(
    '/api/info',
    {
      schema: {
        tags: ['service'],
        summary: 'What clients have to know of the server',
        response: { 200: infoAnswer, ...failures() },
      },
    },
    () => ({
      success: true as const,
      auth: config.account.authRequired ? ('required' as const) : ('optional' as const),
      registration: config.account.registrationOpen ? ('open' as const) : ('closed' as const),
      api_token: config.apiToken !== undefined,
      recognises_words: config.speech.asr !== 'parrot',
      max_bytes: config.tempFiles.maxBytes,
      max_audio_seconds: config.tasks.maxAudioSeconds,
      max_text: config.sessions.maxText,
    }),
  );
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
