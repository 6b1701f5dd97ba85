import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Accounts } from '../account/accounts.js';
import {
  emptyAnswer,
  failures,
  fileAnswer,
  loginFailures,
  pageOf,
  pageSearch,
  who,
} from '../answers.js';
import { bearerUser, requireUser } from '../account/guard.js';
import { ownerOf } from '../limit/rates.js';
import type { User } from '../store/schema.js';
import { type DeviceInfo, leastSize, sizeStep } from '../queue/device.js';
import { taskEvents } from './events.js';
import {
  type RenderOptions,
  cancelledAnswer,
  createdAnswer,
  newRender,
  optionsAnswer,
  renderAnswer,
  rendersAnswer,
} from './http-schema.js';
import { type RenderServices, Renders, type Visitor } from './renders.js';
import { isEnd } from '../queue/update.js';

/** Well within what proxies, and our own server, bear of silence. */
const heartbeatMs = 15_000;

const tags = ['tasks'];
const commonFailures = ['REDIS_UNAVAILABLE', ...loginFailures] as const;
/** What may be wrong with the recording, and with the tools that read it. */
const recordingFailures = [
  'AUDIO_UNREADABLE',
  'AUDIO_UNSUPPORTED',
  'AUDIO_EMPTY',
  'AUDIO_SILENT',
  'AUDIO_TOO_LONG',
  'MEDIA_TOOL_MISSING',
  'MEDIA_TOOL_FAILED',
  'MEDIA_TIMEOUT',
  'MEDIA_CANCELLED',
] as const;
const foundFailures = ['TASK_NOT_FOUND', ...commonFailures] as const;
const idParameter = Type.Object({ id: Type.String({ maxLength: 200 }) });
const range = Type.Object(pageSearch);

/** Tasks for clients that only speak HTTP. */
export const taskRoutes: FastifyPluginAsyncTypebox<
  RenderServices & { readonly accounts: Accounts }
> = async (app, services) => {
  const { accounts, config, tasks } = services;
  const { authRequired } = config.account;
  const renders = new Renders(services);
  const closing = new AbortController();
  renders.start();
  app.addHook('preClose', async () => closing.abort());
  app.addHook('onClose', () => renders.stop());

  /** Whoever is trusted, as with the API token, is nobody in particular. */
  const visitor = async (request: FastifyRequest): Promise<Visitor> => {
    if (request.owner === undefined) return { user: undefined, owner: undefined };
    const user = await (authRequired ? requireUser : bearerUser)(accounts, request);
    return { user, owner: ownerOf(user, request.ip) };
  };
  const viewer = async (request: FastifyRequest): Promise<User | undefined> =>
    (await visitor(request)).user;

  app.post(
    '/',
    {
      schema: {
        tags,
        summary: 'Make a video of a portrait and a recording',
        security: who.anyone,
        body: newRender,
        response: {
          202: createdAnswer,
          ...failures(
            'TASK_INVALID',
            'TASK_FILE_NOT_FOUND',
            'TASK_FILE_WRONG_TYPE',
            'FORM_TOO_LARGE',
            'TOO_MANY_TASKS',
            'QUOTA_EXCEEDED',
            'TASK_QUEUE_FULL',
            'NO_WORKER_AVAILABLE',
            'SERVER_STOPPING',
            'STORAGE_UNAVAILABLE',
            ...recordingFailures,
            ...commonFailures,
          ),
        },
      },
    },
    async (request, reply) => {
      const visiting = await visitor(request);
      const { taskId, position, seed } = await renders.create(
        visiting,
        request.body,
        gone(reply, closing.signal),
      );
      return reply.code(202).send({ success: true as const, task_id: taskId, position, seed });
    },
  );

  app.get(
    '/',
    {
      schema: {
        tags,
        summary: "One's own tasks, the newest first",
        security: who.user,
        querystring: range,
        response: { 200: rendersAnswer, ...failures(...commonFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { page, pageSize } = pageOf(request.query);
      const found = await renders.list(user, { page, pageSize });
      return { success: true as const, ...found, page, page_size: pageSize };
    },
  );

  app.get(
    '/options',
    {
      schema: {
        tags,
        summary: 'What the devices render now, and the limits',
        response: { 200: optionsAnswer, ...failures('REDIS_UNAVAILABLE') },
      },
    },
    async () => ({
      success: true as const,
      models: modelsOf(await tasks.devices()),
      limits: {
        image_bytes: config.tempFiles.maxBytes.image,
        audio_bytes: config.tempFiles.maxBytes.audio,
        video_bytes: config.tempFiles.maxBytes.video,
        audio_seconds: config.tasks.maxAudioSeconds,
        file_hours: config.tempFiles.expiryMs / 3_600_000,
        task_hours: config.tasks.stateMs / 3_600_000,
      },
      auth_required: authRequired,
    }),
  );

  app.get(
    '/:id',
    {
      schema: {
        tags,
        summary: 'How far a task is',
        security: who.anyone,
        params: idParameter,
        response: { 200: renderAnswer, ...failures(...foundFailures) },
      },
    },
    async (request) => ({
      success: true as const,
      task: await renders.find(request.params.id, await viewer(request)),
    }),
  );

  app.delete(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Cancel a task',
        security: who.anyone,
        params: idParameter,
        response: { 200: cancelledAnswer, ...failures(...foundFailures) },
      },
    },
    async (request) => {
      const { id } = request.params;
      const outcome = await renders.cancel(id, await viewer(request));
      request.log.info({ task: id, outcome }, 'task cancelled');
      return { success: true as const, task_id: id, outcome };
    },
  );

  app.get(
    '/:id/events',
    {
      schema: {
        tags,
        summary: 'The updates of a task as they come, until its last',
        description:
          'Server-Sent Events: the data of each is an update as in /schemas/task-update.json, its ' +
          'id the seq to go on after.',
        security: who.anyone,
        params: idParameter,
        headers: Type.Object({
          'last-event-id': Type.Optional(
            Type.String({ description: 'the id of the last event that was received' }),
          ),
        }),
        response: {
          200: fileAnswer('the updates', ['text/event-stream']),
          204: emptyAnswer('the last update was received before'),
          ...failures(...foundFailures),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const task = await renders.find(id, await viewer(request));
      const known = Number(request.headers['last-event-id']);
      const after = Number.isSafeInteger(known) && known > 0 ? known : 0;
      reply.header('cache-control', 'no-store');
      // To an EventSource this says that there is nothing to come back for.
      if (isEnd(task) && after >= (task.seq ?? 0)) return reply.code(204).send();
      const mayListen = () =>
        viewer(request)
          .then((user) => renders.find(id, user))
          .then(
            () => true,
            () => false,
          );
      const signal = gone(reply, closing.signal);
      const events = taskEvents(tasks, id, { after, signal, heartbeatMs, mayListen });
      const headers = {
        'content-type': 'text/event-stream',
        'x-accel-buffering': 'no',
        // A line that was kept for another request would hold up a server that stops.
        connection: 'close',
      };
      return reply.headers(headers).send(Readable.from(events, { objectMode: false }));
    },
  );
};

/** Aborted when nobody waits for the answer any more, or the server stops. */
function gone(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const left = new AbortController();
  if (reply.raw.destroyed) left.abort();
  else reply.raw.once('close', () => left.abort());
  return AbortSignal.any([left.signal, closing]);
}

function modelsOf(devices: readonly DeviceInfo[]): RenderOptions['models'] {
  const models = new Map<string, RenderOptions['models'][number]>();
  for (const { model, simulated, size, max_size, steps, cfg, fps } of devices) {
    const sizes = { default: size, minimum: leastSize, maximum: max_size, step: sizeStep };
    const key = JSON.stringify([model, simulated, sizes, steps, cfg, fps]);
    const known = models.get(key) ?? {
      name: model,
      devices: 0,
      simulated,
      size: sizes,
      steps,
      cfg,
      fps,
    };
    models.set(key, { ...known, devices: known.devices + 1 });
  }
  return [...models.values()];
}
