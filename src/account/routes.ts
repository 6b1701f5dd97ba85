import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { failures, loginFailures, messageAnswer, tokenFailures, who } from '../answers.js';
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
const tags = ['account'];

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
        tags,
        summary: 'Make an account and log in',
        response: {
          201: tokenAnswer,
          ...failures(
            'REGISTRATION_CLOSED',
            'USERNAME_TAKEN',
            'LOGIN_THROTTLED',
            'FORM_TOO_LARGE',
            'DATABASE_UNAVAILABLE',
          ),
        },
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
      schema: {
        tags,
        summary: 'Log in',
        body: credentials,
        response: {
          200: tokenAnswer,
          ...failures('LOGIN_FAILED', 'LOGIN_THROTTLED', 'FORM_TOO_LARGE', 'DATABASE_UNAVAILABLE'),
        },
      },
    },
    async (request) => tokensOf(await accounts.login(request.body, request.ip)),
  );

  app.post(
    '/auth/refresh',
    {
      bodyLimit,
      schema: {
        tags,
        summary: 'The next pair of tokens',
        description: 'A refresh token is good for one use; one that comes back ends its login.',
        body: refreshRequest,
        response: { 200: tokenAnswer, ...failures('FORM_TOO_LARGE', ...tokenFailures) },
      },
    },
    async (request) => tokensOf(await accounts.refresh(request.body.refresh_token)),
  );

  app.post(
    '/auth/logout',
    {
      bodyLimit,
      schema: {
        tags,
        summary: 'End a login, or all of the account',
        security: who.anyone,
        body: logoutRequest,
        response: { 200: messageAnswer, ...failures('FORM_TOO_LARGE', ...loginFailures) },
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

  app.get(
    '/account',
    {
      schema: {
        tags,
        summary: 'Who is logged in',
        security: who.user,
        response: { 200: profileAnswer, ...failures(...loginFailures) },
      },
    },
    async (request) => ({
      success: true as const,
      user: answerOf(await requireUser(accounts, request)),
    }),
  );

  app.patch(
    '/account',
    {
      bodyLimit,
      schema: {
        tags,
        summary: 'Change the profile; null clears a field',
        security: who.user,
        body: profileChange,
        response: { 200: profileAnswer, ...failures('FORM_TOO_LARGE', ...loginFailures) },
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
      schema: {
        tags,
        summary: 'Delete the account with its roles and conversations',
        security: who.user,
        body: removal,
        response: {
          200: messageAnswer,
          ...failures('LOGIN_FAILED', 'LOGIN_THROTTLED', 'FORM_TOO_LARGE', ...loginFailures),
        },
      },
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
        tags,
        summary: 'Change the password; every login but the new one ends',
        security: who.user,
        body: passwordChange,
        response: {
          200: tokenAnswer,
          ...failures('LOGIN_FAILED', 'LOGIN_THROTTLED', 'FORM_TOO_LARGE', ...loginFailures),
        },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { current_password: current, new_password: next } = request.body;
      return tokensOf(await accounts.changePassword(user, { current, next }, request.ip));
    },
  );

  app.get(
    '/account/usage',
    {
      schema: {
        tags,
        summary: 'What was used today',
        security: who.user,
        response: { 200: usageAnswer, ...failures(...loginFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { day, resetsAt, kinds } = await quota.usage(user);
      return {
        success: true as const,
        subscription_type: user.subscription_type,
        day,
        resets_at: resetsAt,
        usage: kinds,
      };
    },
  );
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
