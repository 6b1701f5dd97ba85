import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { CodedError } from '../errors.js';
import type { User } from '../store/schema.js';
import type { Accounts } from './accounts.js';
import { bearerToken, requireUser } from './guard.js';
import { passwordLength } from './passwords.js';
import { profileLength } from './profile.js';
import type { Quota } from './quota.js';
import type { Login } from './tokens.js';

export interface AccountRoutesOptions {
  readonly accounts: Accounts;
  readonly quota: Quota;
}

const strict = { additionalProperties: false } as const;
const bodyLimit = 16 * 1024;

const nullable = (maxLength: number) =>
  Type.Optional(Type.Union([Type.String({ maxLength: 4 * maxLength }), Type.Null()]));
/** Lengths are looser than what is kept, which is counted after spaces are tidied. */
const profile = {
  display_name: Type.Optional(Type.String({ maxLength: 4 * profileLength.display_name })),
  nickname: nullable(profileLength.nickname),
  birth_year: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  birth_place: nullable(profileLength.birth_place),
  grew_up_place: nullable(profileLength.grew_up_place),
  occupation: nullable(profileLength.occupation),
};
const username = Type.String({ minLength: 1, maxLength: 256 });
const password = Type.String({ minLength: 1, maxLength: 2 * passwordLength.max });
const refreshToken = Type.String({ minLength: 1, maxLength: 512 });

const textOrNull = Type.Union([Type.String(), Type.Null()]);
const userAnswer = Type.Object({
  id: Type.String(),
  username: Type.String(),
  display_name: Type.String(),
  subscription_type: Type.String(),
  nickname: textOrNull,
  birth_year: Type.Union([Type.Integer(), Type.Null()]),
  birth_place: textOrNull,
  grew_up_place: textOrNull,
  occupation: textOrNull,
  created_at: Type.String({ description: 'ISO 8601' }),
});
const success = Type.Literal(true);
const profileAnswer = Type.Object({ success, user: userAnswer });
const messageAnswer = Type.Object({ success, message: Type.String() });
const tokenAnswer = Type.Object({
  success,
  access_token: Type.String(),
  refresh_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'seconds that the access token holds' }),
  user: userAnswer,
});
const used = Type.Object({
  used: Type.Number(),
  limit: Type.Union([Type.Number(), Type.Null()]),
});
const usageAnswer = Type.Object({
  success,
  subscription_type: Type.String(),
  day: Type.String(),
  resets_at: Type.String(),
  usage: Type.Object({ messages: used, audio_seconds: used, video_seconds: used }),
});

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
        body: Type.Object({ username, password, ...profile }, strict),
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
      schema: { body: Type.Object({ username, password }, strict), response: { 200: tokenAnswer } },
    },
    async (request) => tokensOf(await accounts.login(request.body, request.ip)),
  );

  app.post(
    '/auth/refresh',
    {
      bodyLimit,
      schema: {
        body: Type.Object({ refresh_token: refreshToken }, strict),
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
        body: Type.Union([
          Type.Object(
            {
              refresh_token: Type.Optional(refreshToken),
              everywhere: Type.Optional(Type.Boolean()),
            },
            strict,
          ),
          Type.Null(),
        ]),
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
        body: Type.Object(profile, { ...strict, minProperties: 1 }),
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
      schema: { body: Type.Object({ password }, strict), response: { 200: messageAnswer } },
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
        body: Type.Object({ current_password: password, new_password: password }, strict),
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
