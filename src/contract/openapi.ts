import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { projectRoot } from '../paths.js';

declare module 'fastify' {
  interface FastifySchema {
    /** What the parts of a form are, which its own parser checks: `body` would be checked before. */
    form?: TSchema;
  }
}

const pack = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
  version: string;
  license: string;
};
export const { version } = pack;

/** The page loads nothing from elsewhere; its icons are in its style sheet. */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const bearer = (description: string) => ({ type: 'http' as const, scheme: 'bearer', description });

/**
 * `/openapi.json`, which describes every route that has tags, and `/docs`, its page; to be called
 * before any route is added.
 */
export async function describeHttp(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    hideUntagged: true,
    convertConstToEnum: false,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'EchoMimic Server',
        version,
        description:
          'A portrait and speech go in, a video of that portrait speaking comes out. Sessions, ' +
          'which run over WebSocket, are described in /asyncapi.json.',
        license: { name: pack.license, identifier: pack.license },
      },
      // whatever name of this server was asked: the page may only call its own
      servers: [{ url: '/' }],
      tags: [
        { name: 'files', description: 'Files for and of tasks and sessions, kept for a while' },
        { name: 'tasks', description: 'Videos from a portrait and a recording' },
        { name: 'account', description: 'Accounts, logins and what they used' },
        { name: 'roles', description: 'Whom one talks to' },
        { name: 'conversations', description: 'What was said' },
        { name: 'operator', description: 'For whoever runs the service' },
        { name: 'service', description: 'Whether it lives, and what it offers' },
      ],
      components: {
        securitySchemes: {
          login: bearer('the access token of a login'),
          apiToken: bearer('API_TOKEN, where the server has one'),
          operator: bearer('OPERATOR_TOKEN; without one only a server on loopback answers'),
        },
      },
    },
    transform: ({ schema, url: path }) => {
      const url = path.replace(/(?<=.)\/$/, '');
      // a route may have no schema, whatever the type says
      if (schema?.form === undefined) return { schema, url };
      const { form, ...described } = schema;
      return { schema: { ...described, body: form, consumes: ['multipart/form-data'] }, url };
    },
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: pagePolicy,
    theme: { title: 'EchoMimic Server' },
    // without the bar at the top, whose logo brings a style that the policy refuses
    uiConfig: { docExpansion: 'list', layout: 'BaseLayout' },
  });
  app.get(
    '/openapi.json',
    {
      schema: {
        tags: ['service'],
        summary: 'This description, as OpenAPI',
        response: { 200: Type.Object({}, { additionalProperties: true }) },
      },
    },
    async () => app.swagger(),
  );
}
