import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { failures } from '../answers.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { asyncApi } from './asyncapi.js';
import { version } from './openapi.js';
import { publishedSchemas } from './schemas.js';

const tags = ['service'];
const anyObject = Type.Object({}, { additionalProperties: true });

/** What the server says of its sockets, its tasks and its frames. */
export const contractRoutes: FastifyPluginAsyncTypebox<{ readonly config: Config }> = async (
  app,
  { config },
) => {
  const document = asyncApi(config, version);
  app.get(
    '/asyncapi.json',
    {
      schema: {
        tags,
        summary: 'Sessions and tasks over Redis, as AsyncAPI',
        response: { 200: anyObject },
      },
    },
    async () => document,
  );
  app.get(
    '/schemas/:name',
    {
      schema: {
        tags,
        summary: 'A JSON Schema: of tasks, updates, failures and every frame',
        params: Type.Object({
          name: Type.String({ maxLength: 100, description: 'such as task.json' }),
        }),
        response: { 200: anyObject, ...failures('NOT_FOUND') },
      },
    },
    async ({ params: { name } }, reply) => {
      const schema = publishedSchemas.get(name.replace(/\.json$/, ''));
      if (schema === undefined) {
        const known = [...publishedSchemas.keys()].join(', ');
        throw new CodedError('NOT_FOUND', `there is no such schema; known are ${known}`);
      }
      reply.type('application/schema+json');
      return {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        $id: `${config.clientUrl}/schemas/${name}`,
        ...schema,
      };
    },
  );
};
