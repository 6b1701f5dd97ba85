import type { IncomingMessage } from 'node:http';
import multipart from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import * as contentDisposition from 'content-disposition';
import { Type } from 'typebox';
import {
  failureAnswer,
  failures,
  fileAnswer,
  emptyAnswer,
  loginFailures,
  messageAnswer,
  who,
} from '../answers.js';
import type { Accounts } from '../account/accounts.js';
import { bearerUser } from '../account/guard.js';
import { CodedError, codeOf } from '../errors.js';
import { LocalCounts } from '../limit/counts.js';
import { hungUp } from '../limit/http.js';
import { networkOf } from '../limit/network.js';
import { sameSecret } from '../limit/trusted.js';
import type { User } from '../store/schema.js';
import { answerTo, validatorsOf } from './conditions.js';
import {
  batchAnswer,
  batchDeletion,
  conditions,
  uploadAnswer,
  uploadForm,
  uploadQuery,
} from './http-schema.js';
import type { FileRecord } from './shelf.js';
import { type TempFileStore, notFound, tooLarge } from './store.js';
import type { StorageUse } from './usage.js';

export interface TempFileRoutesOptions {
  readonly store: TempFileStore;
  readonly usage: StorageUse;
  /** Uploads of one address at the same time; 0 is no limit. */
  readonly uploadsPerAddress: number;
  /** When set, only its holder may use all files; a login uses its own. */
  readonly token: string | undefined;
  readonly accounts: Accounts;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The account that may only use files of its own; undefined for who may use all. */
    fileUser: string | undefined;
  }
}

const multipartOverheadBytes = 64 * 1024;
const drainBytes = 64 * 1024 * 1024;
const drainMs = 15_000;
const refusals = {
  412: () => 'the file is not the one the condition asks for',
  416: ({ bytes }: FileRecord) => `the range lies outside the ${bytes} bytes of the file`,
};
const tags = ['files'];
/** Of a server that wants API_TOKEN, and of what keeps the files. */
const fileFailures = ['STORAGE_FULL', 'STORAGE_UNAVAILABLE', ...loginFailures] as const;
const idParameter = Type.Object({ id: Type.String({ maxLength: 200 }) });

export const tempFileRoutes: FastifyPluginAsyncTypebox<TempFileRoutesOptions> = async (
  app,
  { store, usage, uploadsPerAddress, token, accounts },
) => {
  await app.register(multipart, {
    throwFileSizeLimit: false,
    limits: {
      files: 1,
      fields: 10,
      parts: 11,
      fieldNameSize: 100,
      fieldSize: 4096,
      headerPairs: 50,
      fileSize: store.maxUploadBytes + 1,
    },
  });

  app.decorateRequest('fileUser', undefined);
  if (token !== undefined) {
    app.addHook('onRequest', async (request) => {
      if (sameSecret(request.headers.authorization, `Bearer ${token}`)) return;
      request.fileUser = (await loginOf(request, accounts)).id;
    });
  }

  /** Undefined also for a file that is not for who asks. */
  const find = async (
    { fileUser }: FastifyRequest,
    id: string,
  ): Promise<FileRecord | undefined> => {
    const record = await store.find(id);
    return fileUser === undefined || record?.user === fileUser ? record : undefined;
  };

  app.addHook('onError', async (request) => drain(request.raw));

  const uploads = new LocalCounts();
  /** Counts an upload until its request is over; TOO_MANY_UPLOADS. */
  const begin = ({ ip, raw }: FastifyRequest): void => {
    const network = networkOf(ip);
    if (!uploads.take(network, uploadsPerAddress === 0 ? Infinity : uploadsPerAddress)) {
      throw new CodedError(
        'TOO_MANY_UPLOADS',
        `${uploadsPerAddress} uploads of this address are under way, which is the limit: wait for one`,
      );
    }
    raw.once('close', () => uploads.give(network));
  };

  app.post(
    '/upload',
    {
      schema: {
        tags,
        summary: 'Upload a picture, a recording or a video',
        description: 'What a file is, is told by its content. It is deleted when its time is over.',
        security: who.holder,
        querystring: uploadQuery,
        form: uploadForm,
        response: {
          200: uploadAnswer,
          ...failures(
            'FILE_MISSING',
            'FILE_EMPTY',
            'FILE_EXISTS',
            'FILE_TOO_LARGE',
            'FORM_TOO_LARGE',
            'FILE_TYPE_UNSUPPORTED',
            'TOO_MANY_UPLOADS',
            'STORAGE_QUOTA_EXCEEDED',
            ...fileFailures,
          ),
        },
      },
    },
    async (request) => {
      const announced = Number(request.headers['content-length'] ?? 0);
      if (announced > store.maxUploadBytes + multipartOverheadBytes) {
        throw tooLarge(undefined, store.maxUploadBytes);
      }
      if (!request.isMultipart()) {
        throw new CodedError('BAD_REQUEST', 'an upload is multipart/form-data with a field "file"');
      }
      const { owner, fileUser } = request;
      if (owner !== undefined) {
        await usage.check(owner, Math.max(1, announced - multipartOverheadBytes));
      }
      // Its end was told already: nothing that waits for it would ever hear of it.
      if (request.raw.destroyed) throw hungUp();
      if (owner !== undefined) begin(request);
      let record: FileRecord | undefined;
      try {
        for await (const part of request.parts()) {
          if (part.type !== 'file') continue;
          if (part.fieldname !== 'file') {
            part.file.resume();
            continue;
          }
          record = await store.save(part.file, part.filename ?? '', {
            ...(request.query.file_id === undefined ? {} : { id: request.query.file_id }),
            user: fileUser ?? request.query.user,
          });
          if (part.file.truncated) throw tooLarge(undefined, store.maxUploadBytes);
          if (owner !== undefined) await usage.add(owner, record);
        }
      } catch (error) {
        if (record !== undefined) await store.remove(record.id);
        throw error;
      }
      if (record === undefined) {
        throw new CodedError('FILE_MISSING', 'the form has no file in the field "file"');
      }
      request.log.info({ file: record.id, type: record.type, bytes: record.bytes }, 'file stored');
      return {
        success: true as const,
        file_id: record.id,
        file_type: record.type,
        original_name: record.originalName,
      };
    },
  );

  app.route({
    method: ['GET', 'HEAD'],
    url: '/download/:id',
    schema: {
      tags,
      summary: 'Download a file, or a range of it',
      security: who.holder,
      params: idParameter,
      headers: conditions,
      response: {
        200: fileAnswer('the file', ['image/*', 'audio/*', 'video/*']),
        206: fileAnswer('the range of it', ['image/*', 'audio/*', 'video/*']),
        304: emptyAnswer('the file is the one that the conditions name'),
        412: failureAnswer,
        416: failureAnswer,
        ...failures('FILE_NOT_FOUND', ...fileFailures),
      },
    },
    handler: async (request, reply) => {
      const record = await find(request, request.params.id);
      if (record === undefined) throw notFound();
      const answer = answerTo(request.headers, record);
      reply.code(answer.status).headers({
        ...validatorsOf(record),
        'accept-ranges': 'bytes',
        'cache-control': 'private, no-store',
        'x-content-type-options': 'nosniff',
      });
      if (answer.status === 304) return reply.send();
      if (answer.status === 412 || answer.status === 416) {
        if (answer.status === 416) reply.header('content-range', `bytes */${record.bytes}`);
        const message = refusals[answer.status](record);
        return reply.send({ success: false as const, message, code: 'BAD_REQUEST' as const });
      }
      const range = answer.status === 206 ? answer.range : { start: 0, end: record.bytes - 1 };
      if (answer.status === 206) {
        reply.header('content-range', `bytes ${range.start}-${range.end}/${record.bytes}`);
      }
      reply
        .header('content-length', range.end + 1 - range.start)
        .header('content-disposition', contentDisposition.create(record.originalName))
        .type(record.mime);
      if (request.method === 'HEAD') return reply.send();
      return reply.send(await store.read(record, answer.status === 206 ? range : undefined));
    },
  });

  app.delete(
    '/delete/:id',
    {
      schema: {
        tags,
        summary: 'Delete a file',
        security: who.holder,
        params: idParameter,
        response: { 200: messageAnswer, ...failures('FILE_NOT_FOUND', ...fileFailures) },
      },
    },
    async (request) => {
      const { id } = request.params;
      if ((await find(request, id)) === undefined || !(await store.remove(id))) throw notFound();
      await usage.remove([id]);
      return { success: true as const, message: 'the file was deleted' };
    },
  );

  app.post(
    '/batch-delete',
    {
      schema: {
        tags,
        summary: 'Delete up to a thousand files; those that are gone do not matter',
        security: who.holder,
        body: batchDeletion,
        response: { 200: batchAnswer, ...failures('FORM_TOO_LARGE', ...fileFailures) },
      },
    },
    async (request) => {
      const asked = request.body.file_ids;
      const ids: string[] = [];
      for (const id of asked) {
        if (request.fileUser === undefined || (await find(request, id))) ids.push(id);
      }
      const count = await store.removeMany(ids);
      await usage.remove(ids);
      return {
        success: true as const,
        message: `${count} of ${asked.length} files were deleted`,
        deleted_count: count,
      };
    },
  );
};

/**
 * Reads on, within bounds, what a refused client still sends: many clients look at the answer only
 * after their whole body has gone out, and a closed line would hide the reason from them.
 */
async function drain(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return;
  request.unpipe();
  let rest = drainBytes;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, drainMs);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    request.on('data', (chunk: Buffer) => {
      rest -= chunk.length;
      if (rest < 0) done();
    });
    request.once('end', done).once('close', done).once('error', done).resume();
  });
}

/** The account of a request without API_TOKEN; UNAUTHORIZED, TOKEN_INVALID, TOKEN_EXPIRED. */
async function loginOf(request: FastifyRequest, accounts: Accounts): Promise<User> {
  const user = await bearerUser(accounts, request).catch((error: unknown) => {
    if (codeOf(error) !== 'TOKEN_INVALID') throw error;
    const message = 'this is neither API_TOKEN nor the access token of a login that holds';
    throw new CodedError('TOKEN_INVALID', message);
  });
  if (user !== undefined) return user;
  throw new CodedError(
    'UNAUTHORIZED',
    'this server wants Authorization: Bearer with API_TOKEN, or with an access token for what is yours',
  );
}
