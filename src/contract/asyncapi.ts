import type { Config } from '../config.js';
import { conversationIdPattern } from '../conversation/http-schema.js';
import { taskSchema } from '../queue/schema.js';
import { taskUpdate } from '../queue/update.js';
import { type FrameSchema, frameSchemas } from './frames.js';

interface Channel {
  readonly address: string;
  readonly title: string;
  readonly servers: readonly object[];
  readonly parameters?: object;
  readonly messages: Readonly<Record<string, object>>;
}

const messagesOf = (dialect: FrameSchema['dialect'], from: FrameSchema['from']) =>
  Object.fromEntries(
    frameSchemas
      .filter((frame) => frame.dialect === dialect && frame.from === from)
      .map(({ name, schema }): [string, object] => [
        `${from}.${name}`,
        { name, title: name, contentType: 'application/json', payload: schema },
      ]),
  );
const message = (name: string, payload: object) => ({
  [name]: { name, title: name, contentType: 'application/json', payload },
});

/** AsyncAPI of both kinds of sessions, and of tasks in Redis; the server's view, as it wants it. */
export function asyncApi(config: Config, version: string): object {
  const { protocol, host, pathname } = new URL(config.clientUrl);
  const server = (name: string) => ({ $ref: `#/servers/${name}` });
  const channels: Record<string, Channel> = {
    echomimic: {
      address: '/ws',
      title: 'Sessions of EchoMimic clients',
      servers: [server('sessions')],
      messages: { ...messagesOf('echomimic', 'client'), ...messagesOf('echomimic', 'server') },
    },
    lifeEcho: {
      address: '/ws/conversation/{conversation_id}',
      title: 'Sessions of life-echo clients, with an access token as the query parameter token',
      servers: [server('sessions')],
      parameters: {
        conversation_id: { description: `the conversation, a text like ${conversationIdPattern}` },
      },
      messages: { ...messagesOf('life-echo', 'client'), ...messagesOf('life-echo', 'server') },
    },
    tasks: {
      address: config.queueName,
      title: 'A list of Redis: RPUSH a task, and it waits for that device',
      servers: [server('redis')],
      parameters: { gpu_id: { description: 'the number of a device, from 0' } },
      messages: message('task', taskSchema),
    },
    progress: {
      address: config.progressChannel,
      title: 'A channel of Redis: SUBSCRIBE to hear of every task',
      servers: [server('redis')],
      messages: message('update', taskUpdate),
    },
  };
  const operation = (channel: string, action: 'receive' | 'send', prefix = '') => ({
    action,
    channel: { $ref: `#/channels/${channel}` },
    messages: Object.keys(channels[channel]?.messages ?? {})
      .filter((name) => name.startsWith(prefix))
      .map((name) => ({ $ref: `#/channels/${channel}/messages/${name}` })),
  });
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'EchoMimic Server',
      version,
      description:
        'Sessions over WebSocket and tasks over Redis. What is received comes from clients. ' +
        'Everything over HTTP is described in /openapi.json.',
    },
    defaultContentType: 'application/json',
    servers: {
      sessions: {
        host,
        protocol: protocol === 'https:' ? 'wss' : 'ws',
        ...(pathname === '/' ? {} : { pathname }),
      },
      redis: {
        host: '{host}:{port}',
        protocol: 'redis',
        variables: {
          host: { description: 'REDIS_HOST', default: '127.0.0.1' },
          port: { description: 'REDIS_PORT', default: '6379' },
        },
      },
    },
    channels,
    operations: {
      hearEchoMimicClient: operation('echomimic', 'receive', 'client.'),
      tellEchoMimicClient: operation('echomimic', 'send', 'server.'),
      hearLifeEchoClient: operation('lifeEcho', 'receive', 'client.'),
      tellLifeEchoClient: operation('lifeEcho', 'send', 'server.'),
      takeTasks: operation('tasks', 'receive'),
      tellProgress: operation('progress', 'send'),
    },
  };
}
