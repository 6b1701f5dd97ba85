import { randomUUID } from 'node:crypto';
import websocket from '@fastify/websocket';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import { CodedError } from '../../errors.js';
import type { Log } from '../../log.js';
import { type AdmissionOptions, type Admitted, admit } from './admission.js';
import { closeCodes } from './close.js';
import type { Dialect } from '../dialect.js';
import { Socket } from './socket.js';
import { divertUpgrades } from './upgrades.js';

export interface TransportOptions extends AdmissionOptions {
  readonly log: Log;
  readonly routes: readonly { readonly url: string; readonly dialect: Dialect }[];
  /** Called at the end, when every socket was told goodbye. */
  readonly stop: () => Promise<void>;
  /** How long a client may take nothing; ms. */
  readonly stuckMs?: number | undefined;
}

/** What the router of the application takes as a part of a path at most. */
const longestParameter = 300;
/** How long a client may take to answer a close. */
const closeTimeoutMs = 5000;

/** The WebSocket routes of an application, from the upgrade to the goodbye. */
export async function registerSockets(
  app: FastifyInstance,
  options: TransportOptions,
): Promise<{ readonly open: ReadonlySet<Socket> }> {
  const { config, log } = options;
  const open = new Set<Socket>();
  const admitted = new WeakMap<FastifyRequest, Admitted>();
  let isStopping = false;

  await app.register(websocket, {
    options: {
      maxPayload: config.sessions.maxFrameBytes,
      perMessageDeflate: false,
      // A subprotocol may carry a token, which is not to be repeated.
      handleProtocols: () => false,
      ...{ closeTimeout: closeTimeoutMs },
    },
    // Broken frames and lines: the socket closes with the code that fits, on its own.
    errorHandler: (error, _socket, request) => {
      log.debug({ err: error, address: request.ip }, 'a socket broke');
    },
    preClose: async () => {
      isStopping = true;
      upgrades.stop();
      for (const socket of open) socket.close(closeCodes.goingAway, goodbye);
      const ended = Promise.all([...open].map((socket) => socket.ended)).then(() => options.stop());
      await withinMs(ended, config.shutdownMs, () =>
        log.warn({ open: open.size }, 'sessions did not end in time'),
      );
      for (const socket of open) socket.terminate();
    },
  });

  const isSocket = (path: string) => options.routes.some(({ url }) => matches(url, path));
  const upgrades = divertUpgrades(app.server, isSocket);

  const connect = (dialect: Dialect, ws: WebSocket, request: FastifyRequest): void => {
    const { address, isRelayed } = admitted.get(request) as Admitted;
    const id = randomUUID();
    const socket = new Socket(ws, request.raw.socket, dialect, {
      id,
      address,
      isRelayed,
      query: texts(request.query),
      params: texts(request.params),
      authorization: request.headers.authorization,
      limits: config.sessions,
      stuckMs: options.stuckMs,
      log: log.child({ connection: id, dialect: dialect.name, address }),
    });
    open.add(socket);
    void socket.ended.then(() => open.delete(socket));
    if (isStopping) socket.close(closeCodes.goingAway, goodbye);
  };

  for (const { url, dialect } of options.routes) {
    app.route({
      method: 'GET',
      url,
      onRequest: async (request) => {
        if (!request.ws) return;
        if (isStopping) throw new CodedError('SERVER_STOPPING', stopping);
        admitted.set(request, await admit(request, options));
      },
      handler: async (_request, reply) => {
        reply.header('upgrade', 'websocket');
        throw new CodedError(
          'UPGRADE_REQUIRED',
          'this address is a WebSocket: connect with ws:// or wss://',
        );
      },
      wsHandler: (ws, request) => connect(dialect, ws, request),
    });
  }
  return { open };
}

const stopping = 'the server is stopping: connect again in a while';
const goodbye = `SERVER_STOPPING: ${stopping}`;

/** Whether a path is one of a route, whose last part may be a parameter. */
function matches(url: string, path: string): boolean {
  const parts = path.split('/');
  const wanted = url.split('/');
  return (
    parts.length === wanted.length &&
    wanted.every((part, i) => part === parts[i] || (part.startsWith(':') && isParameter(parts[i])))
  );
}

function isParameter(part: string | undefined): boolean {
  return part !== undefined && part !== '' && part.length <= longestParameter;
}

/** Of values that are given twice the first. */
function texts(values: unknown): Record<string, string> {
  const pairs = Object.entries((values ?? {}) as Record<string, unknown>).flatMap(
    ([key, value]) => {
      const first: unknown = Array.isArray(value) ? value[0] : value;
      return typeof first === 'string' ? [[key, first] as const] : [];
    },
  );
  return Object.fromEntries(pairs);
}

async function withinMs(work: Promise<unknown>, ms: number, late: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      late();
      resolve();
    }, ms);
  });
  try {
    await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
