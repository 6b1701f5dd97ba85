import type { ClientSocket, Connection, Dialect } from '../dialect.js';
import type { SessionManager } from '../core/manager.js';
import type { SessionServices } from '../services.js';
import { EchoMimicConnection } from './connection.js';
import { encode } from './encode.js';

/** The frames of EchoMimic's clients: `{"event": name, "data": {...}}`. */
export function createEchoMimic(services: SessionServices, sessions: SessionManager): Dialect {
  const connections = new WeakMap<ClientSocket, EchoMimicConnection>();
  return {
    name: 'echomimic',
    connect(socket): Connection {
      const connection = new EchoMimicConnection(socket, services, sessions);
      connections.set(socket, connection);
      return connection;
    },
    error(socket, code, message, retryAfter): object {
      const event = { type: 'error', code, message, retryAfter } as const;
      const seq = connections.get(socket)?.session?.number(event);
      return seq === undefined
        ? { event: 'error', data: { code, message, retry_after: retryAfter } }
        : (encode(event, seq) as object);
    },
  };
}
