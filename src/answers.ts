import { type TSchema, Type } from 'typebox';
import { type ErrorCode, errorCodes, retryAfterOf } from './errors.js';

/** What HTTP answers have in common, whichever room gives them. */

export const success = Type.Literal(true);
export const messageAnswer = Type.Object({ success, message: Type.String() });
export const textOrNull = Type.Union([Type.String(), Type.Null()]);
export const isoTime = Type.String({ description: 'ISO 8601, UTC' });
export const isoTimeOrNull = Type.Union([isoTime, Type.Null()]);

/** Of the query of a route that answers a page of a list. */
export const pageSearch = {
  page: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, default: 1 })),
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
};
/** What its answer says besides the list. */
export const pageMembers = {
  page: Type.Integer(),
  page_size: Type.Integer(),
  total: Type.Integer(),
};

/** The page that a query asks for. */
export function pageOf({ page = 1, page_size = 20 }: { page?: number; page_size?: number }) {
  return { page, pageSize: page_size };
}

const retryAfter = { type: 'integer', description: 'seconds after which it is worth trying again' };

/** Who may ask, for the `security` of a route. */
export const who = {
  user: [{ login: [] }],
  anyone: [{}, { login: [] }],
  operator: [{}, { operator: [] }],
  /** Where the server wants API_TOKEN, or a login for what is its own. */
  holder: [{}, { apiToken: [] }, { login: [] }],
};

/** The answer to every request that fails. */
export const failureAnswer = failureOf();

/** What any request may meet, whatever it asks for. */
const always: readonly ErrorCode[] = ['BAD_REQUEST', 'ORIGIN_REFUSED', 'RATE_LIMITED', 'INTERNAL'];
/** Whose token may be wrong, besides. */
export const tokenFailures = ['TOKEN_INVALID', 'TOKEN_EXPIRED', 'DATABASE_UNAVAILABLE'] as const;
export const loginFailures = ['UNAUTHORIZED', ...tokenFailures] as const;

/** For the `response` of a route: the failures that it may answer, by their status. */
export function failures(...codes: readonly ErrorCode[]): Record<never, TSchema> {
  const all = [...new Set([...always, ...codes])];
  const statuses = new Set(all.map((code) => errorCodes[code].status));
  const answers = [...statuses].map((status): [string, TSchema] => [
    String(status),
    failureOf(all.filter((code) => errorCodes[code].status === status)),
  ]);
  return { ...Object.fromEntries(answers), default: failureAnswer };
}

/** An answer without a body. */
export function emptyAnswer(description: string) {
  return Type.Unsafe<undefined>({ type: 'null', description });
}

/** An answer whose body is bytes of one of these types, or such JSON. */
export function fileAnswer(description: string, types: readonly string[], json?: TSchema) {
  const schema = { type: 'string', format: 'binary' };
  const content = Object.fromEntries(types.map((type) => [type, { schema }]));
  return Type.Unsafe<unknown>({
    description,
    content: {
      ...content,
      ...(json === undefined ? {} : { 'application/json': { schema: json } }),
    },
  });
}

function failureOf(codes?: readonly ErrorCode[]) {
  const mayPass = codes?.some((code) => retryAfterOf(code) !== undefined);
  return Type.Object(
    {
      success: Type.Literal(false),
      message: Type.String({ description: 'what was expected, what arrived, what to do' }),
      code: Type.Unsafe<ErrorCode>({
        type: 'string',
        ...(codes === undefined ? {} : { enum: codes }),
        description: 'see docs/errors.md',
      }),
    },
    {
      description: codes?.join(', ') ?? 'any other failure',
      ...(mayPass === true ? { headers: { 'retry-after': retryAfter } } : {}),
    },
  );
}
