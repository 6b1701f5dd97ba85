import { type Static, Type } from 'typebox';
import { success } from '../answers.js';

export const fileIdPattern = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';

export const uploadQuery = Type.Object({
  file_id: Type.Optional(
    Type.String({ pattern: fileIdPattern, description: 'the id that the file shall have' }),
  ),
  user: Type.Optional(
    Type.String({
      pattern: fileIdPattern,
      description: 'the id of the account whose file it is; from whoever holds API_TOKEN',
    }),
  ),
});
export const batchDeletion = Type.Object({
  file_ids: Type.Array(Type.String({ maxLength: 200 }), { minItems: 1, maxItems: 1000 }),
});

export const uploadForm = Type.Object({
  file: Type.String({ format: 'binary', description: 'the only file of the form' }),
});
/** Of a download; what is not understood is passed over. */
export const conditions = Type.Object({
  range: Type.Optional(Type.String({ description: 'one range of bytes, such as bytes=0-1023' })),
  'if-range': Type.Optional(Type.String()),
  'if-match': Type.Optional(Type.String()),
  'if-none-match': Type.Optional(Type.String()),
  'if-modified-since': Type.Optional(Type.String()),
  'if-unmodified-since': Type.Optional(Type.String()),
});

export const uploadAnswer = Type.Object({
  success,
  file_id: Type.String(),
  file_type: Type.Enum(['image', 'audio', 'video']),
  original_name: Type.String(),
});
export const batchAnswer = Type.Object({
  success,
  message: Type.String(),
  deleted_count: Type.Integer(),
});

export type BatchAnswer = Static<typeof batchAnswer>;
export type UploadAnswer = Static<typeof uploadAnswer>;
