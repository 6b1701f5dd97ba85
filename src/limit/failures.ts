import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError, type ErrorCode, errorCodes } from '../errors.js';
import { meters } from '../observe/meters.js';
import { hungUp } from './http.js';
import { safeHeaders } from './raw.js';

/** Answers what went wrong with a request, whoever noticed. */
export function answerFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const failure = error === request.raw.errored ? hungUp() : describeFailure(error);
  const { code, status, message } = failure;
  if (status >= 500) request.log.error({ err: error, req: request }, 'request failed');
  else request.log.info({ code, req: request }, message);
  meters.errors.inc({ code, via: 'http' });
  if (reply.raw.headersSent) return reply.raw.destroy();
  tellFailure(reply, failure);
  reply.header('x-request-id', request.id);
  return reply.code(status).send({ success: false, message, code });
}

/** What an answer says besides, whose status asks for it. */
function tellFailure(
  reply: FastifyReply,
  { code, retryAfterSeconds }: Pick<CodedError, 'code' | 'retryAfterSeconds'>,
): void {
  reply.headers(safeHeaders);
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds));
  if (errorCodes[code].status !== 401) return;
  const invalid = code === 'TOKEN_INVALID' || code === 'TOKEN_EXPIRED';
  const error = invalid ? ', error="invalid_token"' : '';
  reply.header('www-authenticate', `Bearer realm="EchoMimic Server"${error}`);
}

interface Failure {
  readonly code: ErrorCode;
  readonly status: number;
  readonly message: string;
  readonly retryAfterSeconds: number | undefined;
}

/** What a client is told: our errors as they are, the framework's by kind, anything else hidden. */
function describeFailure(error: FastifyError): Failure {
  const failure = (code: ErrorCode, message: string): Failure => new CodedError(code, message);
  if (error instanceof CodedError) return error;
  if (error.validation !== undefined) return failure('BAD_REQUEST', error.message);
  if (/^FST_(FILES|PARTS|FIELDS)_LIMIT$/.test(error.code)) {
    return failure('FORM_TOO_LARGE', 'the form has more files or fields than an upload may have');
  }
  const status = error.statusCode ?? (isBrokenForm(error) ? 400 : 500);
  if (status >= 400 && status < 500) {
    const code = status === 413 ? 'FORM_TOO_LARGE' : 'BAD_REQUEST';
    const message =
      status === 415
        ? 'send Content-Type: application/json, or multipart/form-data for an upload'
        : error.message;
    return { code, message, status: status === 406 ? 400 : status, retryAfterSeconds: undefined };
  }
  return failure('INTERNAL', 'the server failed; its log says why');
}

/** The multipart parser's own errors carry no status. */
function isBrokenForm(error: Error): boolean {
  return /multipart|malformed part header|part terminated early|unexpected end of/i.test(
    error.message,
  );
}
