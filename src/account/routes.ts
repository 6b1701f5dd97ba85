import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { messageAnswer } from '../answers.js';
import { CodedError } from '../errors.js';
import type { User } from '../store/schema.js';
import type { Accounts } from './accounts.js';
import { bearerToken, requireUser } from './guard.js';
import {
  credentials,
  logoutRequest,
  passwordChange,
  profileAnswer,
  profileChange,
  refreshRequest,
  registration,
  removal,
  tokenAnswer,
  usageAnswer,
} from './http-schema.js';
import type { Quota } from './quota.js';
import type { Login } from './tokens.js';

export interface AccountRoutesOptions {
  readonly accounts: Accounts;
  readonly quota: Quota;
}

const bodyLimit = 16 * 1024;

/** Registered under `/api`: `/auth/...` and `/account`. */
export const accountRoutes: FastifyPluginAsyncTypebox<AccountRoutesOptions> = async (
  app,
  { accounts, quota },
) => {
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });

  app.post(
    '/auth/register',
    {
      bodyLimit,
      schema: {
        body: registration,
        response: { 201: tokenAnswer },
      },
    },
    async (request, reply) => {
      const login = await accounts.register(request.body, request.ip);
      return reply.code(201).send(tokensOf(login));
    },
  );

  app.post(
    '/auth/login',
    {
      bodyLimit,
      schema: { body: credentials, response: { 200: tokenAnswer } },
    },
    async (request) => tokensOf(await accounts.login(request.body, request.ip)),
  );

  app.post(
    '/auth/refresh',
    {
      bodyLimit,
      schema: {
        body: refreshRequest,
        response: { 200: tokenAnswer },
      },
    },
    async (request) => tokensOf(await accounts.refresh(request.body.refresh_token)),
  );

  app.post(
    '/auth/logout',
    {
      bodyLimit,
      schema: {
        body: logoutRequest,
        response: { 200: messageAnswer },
      },
      // A logout with nothing to say needs no body.
      preValidation: async (request) => {
        request.body ??= null;
      },
    },
    async (request) => {
      const { refresh_token: refresh, everywhere = false } = request.body ?? {};
      const access = bearerToken(request);
      if (refresh !== undefined) await accounts.logout({ refresh }, { everywhere });
      else if (access !== undefined) await accounts.logout({ access }, { everywhere });
      else {
        throw new CodedError(
          'UNAUTHORIZED',
          'send refresh_token, or Authorization: Bearer <access token>, to say which login ends',
        );
      }
      return {
        success: true as const,
        message: everywhere ? 'every login of the account has ended' : 'the login has ended',
      };
    },
  );

  app.get('/account', { schema: { response: { 200: profileAnswer } } }, async (request) => ({
    success: true as const,
    user: answerOf(await requireUser(accounts, request)),
  }));

  app.patch(
    '/account',
    {
      bodyLimit,
      schema: {
        body: profileChange,
        response: { 200: profileAnswer },
      },
    },
    async (request) => {
      const { id } = await requireUser(accounts, request);
      return {
        success: true as const,
        user: answerOf(await accounts.updateProfile(id, request.body)),
      };
    },
  );

  app.delete(
    '/account',
    {
      bodyLimit,
      schema: { body: removal, response: { 200: messageAnswer } },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      await accounts.remove(user, request.body.password, request.ip);
      return {
        success: true as const,
        message: 'the account, its roles and its conversations were deleted',
      };
    },
  );

  app.post(
    '/account/password',
    {
      bodyLimit,
      schema: {
        body: passwordChange,
        response: { 200: tokenAnswer },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { current_password: current, new_password: next } = request.body;
      return tokensOf(await accounts.changePassword(user, { current, next }, request.ip));
    },
  );

  app.get('/account/usage', { schema: { response: { 200: usageAnswer } } }, async (request) => {
    const user = await requireUser(accounts, request);
    const { day, resetsAt, kinds } = await quota.usage(user);
    return {
      success: true as const,
      subscription_type: user.subscription_type,
      day,
      resets_at: resetsAt,
      usage: kinds,
    };
  });
};

function tokensOf({ user, accessToken, refreshToken, expiresIn }: Login) {
  return {
    success: true as const,
    access_token: accessToken,
    refresh_token: refreshToken,
    token_type: 'Bearer' as const,
    expires_in: expiresIn,
    user: answerOf(user),
  };
}

function answerOf({ token_version: _version, created_at, ...user }: User) {
  return { ...user, created_at: new Date(created_at).toISOString() };
}
