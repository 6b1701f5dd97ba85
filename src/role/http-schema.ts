import { type Static, Type } from 'typebox';
import { isoTime, pageMembers, pageSearch, success, textOrNull } from '../answers.js';

const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const optional = {
  gender: Type.Optional(orNull(Type.String({ minLength: 1, maxLength: 40 }))),
  age: Type.Optional(orNull(Type.Integer({ minimum: 0, maximum: 200 }))),
  language: Type.Optional(orNull(Type.String({ minLength: 2, maxLength: 35 }))),
  voice: Type.Optional(orNull(Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' }))),
  greeting: Type.Optional(orNull(Type.String({ maxLength: 1000 }))),
  is_public: Type.Optional(Type.Boolean()),
  consent: Type.Optional(
    Type.Boolean({ description: 'whoever the portrait shows agrees to this use' }),
  ),
  consent_statement: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1000,
      description:
        'the words that were agreed to, where your page says it in other words than ours',
    }),
  ),
};
const name = Type.String({ minLength: 1, maxLength: 80 });
const personality = Type.String({ maxLength: 4000 });
const fileId = Type.String({
  minLength: 1,
  maxLength: 200,
  description: 'the file_id of an uploaded picture',
});

export const newRole = Type.Object(
  { ...optional, name, personality, image_id: Type.Optional(fileId) },
  { additionalProperties: false },
);
export const changedRole = Type.Object(
  {
    ...optional,
    name: Type.Optional(name),
    personality: Type.Optional(personality),
    image_id: Type.Optional(orNull(fileId)),
  },
  { additionalProperties: false },
);
export const roleSearch = Type.Object({
  q: Type.Optional(Type.String({ maxLength: 200 })),
  mine: Type.Optional(Type.Boolean({ default: false })),
  ...pageSearch,
});

export const role = Type.Object({
  role_id: Type.String(),
  name: Type.String(),
  gender: textOrNull,
  age: Type.Union([Type.Integer(), Type.Null()]),
  personality: Type.String(),
  language: textOrNull,
  voice: textOrNull,
  greeting: textOrNull,
  is_public: Type.Boolean(),
  is_bundled: Type.Boolean({ description: 'it came with the server' }),
  is_mine: Type.Boolean(),
  image_url: textOrNull,
  consent: Type.Union(
    [
      Type.Object({
        at: isoTime,
        by: Type.String({ description: 'id of the account that said so' }),
        statement: Type.String(),
      }),
      Type.Null(),
    ],
    { description: 'of the portrait; only its owner sees it' },
  ),
  created_at: isoTime,
});
export const roleAnswer = Type.Object({ success, role });
export const rolesAnswer = Type.Object({
  success,
  roles: Type.Array(role),
  ...pageMembers,
});

export type Role = Static<typeof role>;
export type NewRole = Static<typeof newRole>;
export type ChangedRole = Static<typeof changedRole>;
export type RoleSearch = Static<typeof roleSearch>;
export type RolesAnswer = Static<typeof rolesAnswer>;
