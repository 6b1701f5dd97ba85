import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Accounts } from '../account/accounts.js';
import { bearerUser, requireUser } from '../account/guard.js';
import { ownerOf } from '../limit/rates.js';
import type { User } from '../store/schema.js';
import { type DeviceInfo, leastSize, sizeStep } from './device.js';
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
import { isEnd } from './update.js';

/** Well within what proxies, and our own server, bear of silence. */
const heartbeatMs = 15_000;

const idParameter = Type.Object({ id: Type.String({ maxLength: 200 }) });
const range = Type.Object({
  page: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
});

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
  app.addHook('onClose', async () => renders.stop());

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
    { schema: { body: newRender, response: { 202: createdAnswer } } },
    async (request, reply) => {
      const who = await visitor(request);
      const { taskId, gpuId, position, seed } = await renders.create(
        who,
        request.body,
        gone(reply, closing.signal),
      );
      request.log.info({ task: taskId, gpu: gpuId, user: who.user?.id }, 'task queued');
      return reply.code(202).send({ success: true, task_id: taskId, position, seed });
    },
  );

  app.get(
    '/',
    { schema: { querystring: range, response: { 200: rendersAnswer } } },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { page = 1, page_size = 20 } = request.query;
      const found = await renders.list(user, { page, pageSize: page_size });
      return { success: true as const, ...found, page, page_size };
    },
  );

  app.get('/options', { schema: { response: { 200: optionsAnswer } } }, async () => ({
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
  }));

  app.get(
    '/:id',
    { schema: { params: idParameter, response: { 200: renderAnswer } } },
    async (request) => ({
      success: true as const,
      task: await renders.find(request.params.id, await viewer(request)),
    }),
  );

  app.delete(
    '/:id',
    { schema: { params: idParameter, response: { 200: cancelledAnswer } } },
    async (request) => {
      const { id } = request.params;
      const outcome = await renders.cancel(id, await viewer(request));
      request.log.info({ task: id, outcome }, 'task cancelled');
      return { success: true as const, task_id: id, outcome };
    },
  );

  app.get('/:id/events', { schema: { params: idParameter } }, async (request, reply) => {
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
  });
};

/** Aborted when nobody waits for the answer any more, or the server stops. */
function gone(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const left = new AbortController();
  reply.raw.once('close', () => left.abort());
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
