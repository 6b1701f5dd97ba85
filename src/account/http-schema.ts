import { type Static, Type } from 'typebox';
import { isoTime, success, textOrNull } from '../answers.js';
import { passwordLength, profileLength } from './lengths.js';

const strict = { additionalProperties: false } as const;
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

export const registration = Type.Object({ username, password, ...profile }, strict);
export const credentials = Type.Object({ username, password }, strict);
export const refreshRequest = Type.Object({ refresh_token: refreshToken }, strict);
/** A logout with nothing to say needs no body. */
export const logoutRequest = Type.Union([
  Type.Object(
    { refresh_token: Type.Optional(refreshToken), everywhere: Type.Optional(Type.Boolean()) },
    strict,
  ),
  Type.Null(),
]);
export const profileChange = Type.Object(profile, { ...strict, minProperties: 1 });
export const removal = Type.Object({ password }, strict);
export const passwordChange = Type.Object(
  { current_password: password, new_password: password },
  strict,
);

export const userAnswer = Type.Object({
  id: Type.String(),
  username: Type.String(),
  display_name: Type.String(),
  subscription_type: Type.String(),
  nickname: textOrNull,
  birth_year: Type.Union([Type.Integer(), Type.Null()]),
  birth_place: textOrNull,
  grew_up_place: textOrNull,
  occupation: textOrNull,
  created_at: isoTime,
});
export const profileAnswer = Type.Object({ success, user: userAnswer });
export const tokenAnswer = Type.Object({
  success,
  access_token: Type.String(),
  refresh_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'seconds that the access token holds' }),
  user: userAnswer,
});
const used = Type.Object({
  used: Type.Number(),
  limit: Type.Union([Type.Number(), Type.Null()], { description: 'null: no limit' }),
});
export const usageAnswer = Type.Object({
  success,
  subscription_type: Type.String(),
  day: Type.String({ description: 'a UTC day, YYYY-MM-DD' }),
  resets_at: isoTime,
  usage: Type.Object({ messages: used, audio_seconds: used, video_seconds: used }),
});

export type Account = Static<typeof userAnswer>;
export type Registration = Static<typeof registration>;
export type Credentials = Static<typeof credentials>;
export type ProfileChange = Static<typeof profileChange>;
export type PasswordChange = Static<typeof passwordChange>;
export type TokenAnswer = Static<typeof tokenAnswer>;
export type UsageAnswer = Static<typeof usageAnswer>;
