import type { FastifyPluginAsync } from 'fastify';
import { createEchoMimic } from './echomimic/index.js';
import { createLifeEcho } from './life-echo/index.js';
import { SessionManager } from './core/manager.js';
import type { SessionServices } from './services.js';
import { registerSockets } from './socket/transport.js';

/** Both kinds of sessions; closing the application ends them all. */
export const sessionRoutes: FastifyPluginAsync<SessionServices> = async (app, services) => {
  const sessions = new SessionManager(services);
  sessions.start();
  await registerSockets(app, {
    config: services.config,
    log: services.log,
    routes: [
      { url: '/ws', dialect: createEchoMimic(services, sessions) },
      { url: '/ws/conversation/:id', dialect: createLifeEcho(services, sessions) },
    ],
    stop: () => sessions.stop(),
  });
};
