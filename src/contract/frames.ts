import { type TSchema, Type } from 'typebox';
import * as echoMimic from '../session/echomimic/schema.js';
import * as lifeEcho from '../session/life-echo/schema.js';

/** A whole frame, with what stands around its data. */
export interface FrameSchema {
  readonly dialect: 'echomimic' | 'life-echo';
  readonly from: 'client' | 'server';
  /** Its event or type. */
  readonly name: string;
  readonly schema: TSchema;
}

const isoTime = Type.String({ description: 'ISO 8601, UTC' });
const conversationId = Type.String();

const around: Record<string, (name: string, data: TSchema) => TSchema> = {
  'echomimic client': (event, data) => Type.Object({ event: Type.Literal(event), data }),
  'echomimic server': (event, data) =>
    Type.Object({
      event: Type.Literal(event),
      data,
      seq: Type.Optional(
        Type.Integer({
          minimum: 0,
          description: 'counts what the session told; without one, none',
        }),
      ),
    }),
  'life-echo client': (type, data) =>
    Type.Object({
      type: Type.Literal(type),
      data,
      conversation_id: Type.Optional(conversationId),
      timestamp: Type.Optional(isoTime),
    }),
  'life-echo server': (type, data) =>
    Type.Object({
      type: Type.Literal(type),
      conversation_id: conversationId,
      data,
      timestamp: isoTime,
    }),
};

function frames(
  dialect: FrameSchema['dialect'],
  from: FrameSchema['from'],
  datas: Record<string, TSchema>,
): FrameSchema[] {
  const frame = around[`${dialect} ${from}`] as (name: string, data: TSchema) => TSchema;
  return Object.entries(datas).map(([name, data]) => ({
    ...{ dialect, from, name },
    schema: frame(name, data),
  }));
}

/** Every frame of both dialects. */
export const frameSchemas: readonly FrameSchema[] = [
  ...frames('echomimic', 'client', echoMimic.clientData),
  ...frames('echomimic', 'server', echoMimic.serverData),
  ...frames('life-echo', 'client', lifeEcho.clientData),
  ...frames('life-echo', 'server', lifeEcho.serverData),
];
