import type { FastifyRequest } from 'fastify';
import { CodedError } from '../errors.js';
import type { User } from '../store/schema.js';
import type { Accounts } from './accounts.js';

/** The token of `Authorization: Bearer <token>`; undefined when there is no such header. */
export function bearerToken(request: Pick<FastifyRequest, 'headers'>): string | undefined {
  const header = request.headers.authorization;
  if (header === undefined) return undefined;
  const token = /^Bearer +([^\s]{1,4096})$/i.exec(header)?.[1];
  if (token === undefined) {
    throw new CodedError('TOKEN_INVALID', 'the header is Authorization: Bearer <access token>');
  }
  return token;
}

/** Whose request it is; undefined for an anonymous one. TOKEN_INVALID, TOKEN_EXPIRED. */
export async function bearerUser(
  accounts: Accounts,
  request: Pick<FastifyRequest, 'headers'>,
): Promise<User | undefined> {
  const token = bearerToken(request);
  return token === undefined ? undefined : (await accounts.verifyAccess(token)).user;
}

/** As `bearerUser`; UNAUTHORIZED for an anonymous request. */
export async function requireUser(
  accounts: Accounts,
  request: Pick<FastifyRequest, 'headers'>,
): Promise<User> {
  const user = await bearerUser(accounts, request);
  if (user !== undefined) return user;
  throw new CodedError(
    'UNAUTHORIZED',
    'this needs an account: log in, and send Authorization: Bearer <access token>',
  );
}
