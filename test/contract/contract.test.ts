import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { FastifyInstance } from 'fastify';
import t from 'tap';
import type { TObject, TSchema } from 'typebox';
import { frameSchemas } from '../../src/contract/frames.js';
import { publishedSchemas } from '../../src/contract/schemas.js';
import { projectRoot } from '../../src/paths.js';
import { startSessions } from '../session/session-helper.js';

const json = async (url: string) => (await (await fetch(url)).json()) as Record<string, unknown>;
/** Pages, their files, and sockets. */
const undocumented = /^(\/|\/(studio|operator|docs|assets|icon|manifest|ws)\b.*)$/;

void t.test('what the server says of itself', async (t) => {
  const routes: string[] = [];
  const watch = (message: unknown) =>
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) routes.push(`${one} ${url.replace(/(?<=.)\/$/, '')}`);
    });
  subscribe('fastify.initialization', watch);
  const { url } = await startSessions(t);
  unsubscribe('fastify.initialization', watch);

  t.test('OpenAPI is valid and has every route', async (t) => {
    const document = await json(`${url}/openapi.json`);
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    t.ok(valid, 'OpenAPI 3.1', { errors });
    const paths = document['paths'] as Record<string, Record<string, { tags?: string[] }>>;
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const registered = routes
      .map((route) => route.replace(/:(\w+)/g, '{$1}'))
      .filter((route) => !undocumented.test(route.split(' ')[1] as string));
    t.ok(registered.length > 30, `${registered.length} routes`);
    const known = new Set((document['tags'] as { name: string }[]).map(({ name }) => name));
    for (const route of new Set(registered)) {
      const [method = '', path = ''] = route.split(' ');
      if (method === 'HEAD' && described.includes(`GET ${path}`)) continue;
      t.ok(described.includes(route), route);
    }
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        t.match(operation, { summary: /^.{6,}/, tags: [String] }, `${method} ${path}`);
        t.ok(
          operation.tags?.every((tag) => known.has(tag)),
          `the tags of ${method} ${path}`,
        );
      }
    }
  });

  t.test('AsyncAPI is valid and has every frame', async (t) => {
    const document = await json(`${url}/asyncapi.json`);
    const ajv = new Ajv({ strict: false, logger: false });
    addFormats.default(ajv);
    const official = createRequire(import.meta.url).resolve(
      '@asyncapi/specs/schemas/3.0.0-without-$id.json',
    );
    const check = ajv.compile(JSON.parse(readFileSync(official, 'utf8')) as object);
    t.ok(check(document), 'AsyncAPI 3.0', { errors: check.errors });
    const channels = document['channels'] as Record<string, { messages: object }>;
    const named = (dialect: string) =>
      frameSchemas
        .filter((frame) => frame.dialect === dialect)
        .map(({ from, name }) => `${from}.${name}`);
    t.same(Object.keys(channels['echomimic']!.messages), named('echomimic'));
    t.same(Object.keys(channels['lifeEcho']!.messages), named('life-echo'));
  });

  t.test('every schema is there and is JSON Schema', async (t) => {
    for (const name of publishedSchemas.keys()) {
      const schema = await json(`${url}/schemas/${name}.json`);
      t.equal(schema['$id'], `${url}/schemas/${name}.json`);
      t.doesNotThrow(() => new Ajv2020({ strict: false }).compile(schema));
    }
    t.match(await json(`${url}/schemas/nothing.json`), {
      code: 'NOT_FOUND',
      message: /task-update/,
    });
  });

  t.test('the page of the documentation loads nothing from elsewhere', async (t) => {
    const response = await fetch(`${url}/docs`);
    t.match(response.headers.get('content-security-policy'), /default-src 'none'/);
    const page = await response.text();
    const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link as string);
    t.ok(links.length > 3);
    for (const link of links) {
      t.match(link, /^\/docs\/static\//);
      t.equal((await fetch(url + link)).status, 200, link);
    }
    t.notMatch(page, /<script(?![^>]*src=)|<style|style=/, 'nothing inline');
  });
});

t.test('the tables of docs/protocol.md have every frame and every field', async (t) => {
  const text = readFileSync(join(projectRoot, 'docs', 'protocol.md'), 'utf8');
  const [echoMimic = '', lifeEcho = ''] = text.split('## Life-echo clients');
  const rows = [...echoMimic.matchAll(/^\| `(\w+)` \| (.*)$/gm)];
  const documented = new Map(rows.map(([, name, rest]) => [name as string, rest as string]));
  const frames = frameSchemas.filter(({ dialect }) => dialect === 'echomimic');
  t.same(
    [...documented.keys()],
    frames.map(({ name }) => name),
  );
  const isNamed = (words: string, field: string) =>
    new RegExp(`[\`{, ]${field}\\b`).test(words.replaceAll('`', ' '));
  for (const { name, schema } of frames) {
    for (const field of fieldsOf((schema as TObject<{ data: TSchema }>).properties.data)) {
      // resuming has a paragraph of its own
      const where = isNamed(documented.get(name) ?? '', field) ? documented.get(name) : echoMimic;
      const resumes =
        name === 'request_connection' && /session_id|resume_token|last_seq/.test(field);
      t.ok(resumes || where !== echoMimic, `${name}: ${field}`);
    }
  }
  for (const { dialect, name, schema } of frameSchemas) {
    if (dialect !== 'life-echo') continue;
    for (const field of fieldsOf((schema as TObject<{ data: TSchema }>).properties.data)) {
      t.ok(isNamed(lifeEcho, field), `life-echo ${name}: ${field}`);
    }
    t.ok(isNamed(lifeEcho, name), `life-echo ${name}`);
  }
});

/** The names of an object's members, and of those of its members. */
function fieldsOf(schema: TSchema): string[] {
  const { properties, items } = schema as { properties?: Record<string, TSchema>; items?: TSchema };
  const own = Object.entries(properties ?? {}).flatMap(([name, member]) => [
    name,
    ...fieldsOf(member),
  ]);
  return [...own, ...(items === undefined ? [] : fieldsOf(items))];
}
